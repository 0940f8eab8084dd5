package dnsserver

// chaosAnswer is the answer to a CHAOS TXT question about the server.
type chaosAnswer struct {
	name string // lower case, wire format
	blob *blob
}

// chaosAnswers packs version.bind, id.server (RFC 4892) and their aliases.
func chaosAnswers(cfg ViewConfig) []chaosAnswer {
	texts := [...]struct{ name, text string }{
		{"\x07version\x04bind\x00", cfg.Version},
		{"\x07version\x06server\x00", cfg.Version},
		{"\x08hostname\x04bind\x00", cfg.NSID},
		{"\x02id\x06server\x00", cfg.NSID},
	}
	var answers []chaosAnswer
	for _, t := range texts {
		if t.text == "" {
			continue
		}
		text := t.text[:min(len(t.text), 255)]
		b := record(typeTXT, append([]byte{byte(len(text))}, text...))
		b[5] = classCHAOS
		answers = append(answers, chaosAnswer{t.name, &blob{body: b, an: 1, authority: true, required: len(b)}})
	}
	return answers
}

func (r *responder) answerChaos(v *View, q *query, msg []byte, rep *reply) {
	if q.qtype == typeTXT || q.qtype == typeANY {
		for i := range v.chaos {
			if v.chaos[i].name == string(q.lower[:q.nameLen]) {
				rep.put(v.chaos[i].blob, msg, q.end, q.nameLen)
				return
			}
		}
	}
	rep.refuse(edeNotSupported)
}
