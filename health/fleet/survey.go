package fleet

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"sync"

	"edged/health/gossip"
)

// A survey asks every other node the same and gathers what they answer. It is
// for measuring, not for deciding: what is lost is lost, and nothing is signed
// but by the gossip's own key. As octets: kind (1), the survey's number (8), the
// sender's name with its length before it (1), and the text.
const (
	kindAsk    = 0x20
	kindAnswer = 0x21

	maxSurvey = 1000 // octets of a text
)

// surveys are those of this node that wait for answers.
type surveys struct {
	mu      sync.Mutex
	waiting map[uint64]func(node, answer string)
}

// Survey asks all nodes that seem alive, and returns their answers by name when
// all have answered or ctx is done. This node is not asked.
func (f *Fleet) Survey(ctx context.Context, question string) map[string]string {
	answers := map[string]string{}
	mesh := f.mesh.Load()
	if mesh == nil {
		return answers
	}
	var others []gossip.Peer
	for _, p := range mesh.Alive() {
		if p.Name != f.cfg.Self.Name {
			others = append(others, p)
		}
	}
	var mu sync.Mutex
	all := make(chan struct{})
	number := rand.Uint64()
	f.surveys.wait(number, func(node, answer string) {
		mu.Lock()
		defer mu.Unlock()
		if _, again := answers[node]; again || len(answers) == len(others) {
			return
		}
		if answers[node] = answer; len(answers) == len(others) {
			close(all)
		}
	})
	defer f.surveys.forget(number)
	if len(others) == 0 {
		return answers
	}
	msg := surveyMessage(kindAsk, number, f.cfg.Self.Name, question)
	var sending sync.WaitGroup
	for _, p := range others {
		sending.Go(func() { _ = mesh.Send(p.Name, msg) }) // who is not reached does not answer
	}
	select {
	case <-all:
	case <-ctx.Done():
	}
	sending.Wait()
	mu.Lock()
	defer mu.Unlock()
	out := make(map[string]string, len(answers))
	for node, answer := range answers {
		out[node] = answer
	}
	return out
}

func (s *surveys) wait(number uint64, take func(node, answer string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting == nil {
		s.waiting = map[uint64]func(string, string){}
	}
	s.waiting[number] = take
}

func (s *surveys) forget(number uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiting, number)
}

func (s *surveys) take(number uint64, node, answer string) {
	s.mu.Lock()
	take := s.waiting[number]
	s.mu.Unlock()
	if take != nil {
		take(node, answer)
	}
}

func isSurvey(msg []byte) bool { return len(msg) > 0 && msg[0]>>4 == 2 }

// receiveSurvey answers a question, or takes an answer. It says whether the
// message was one.
func (f *Fleet) receiveSurvey(msg []byte) bool {
	kind, number, node, text, ok := parseSurvey(msg)
	switch {
	case !ok:
		return false
	case kind == kindAnswer:
		f.surveys.take(number, node, text)
	case f.cfg.Answer != nil:
		mesh := f.mesh.Load()
		if mesh == nil || !f.answering.TryLock() {
			return true // one at a time: whoever asks without pause gets no more than that
		}
		go func() {
			defer f.answering.Unlock()
			_ = mesh.Send(node, surveyMessage(kindAnswer, number, f.cfg.Self.Name, f.cfg.Answer(text)))
		}()
	}
	return true
}

func surveyMessage(kind byte, number uint64, from, text string) []byte {
	b := binary.BigEndian.AppendUint64([]byte{kind}, number)
	b = append(b, byte(len(from)))
	b = append(b, from...)
	return append(b, text[:min(len(text), maxSurvey)]...)
}

func parseSurvey(b []byte) (kind byte, number uint64, from, text string, ok bool) {
	if len(b) < 10 || b[0] != kindAsk && b[0] != kindAnswer {
		return 0, 0, "", "", false
	}
	n := int(b[9])
	if len(b) < 10+n || len(b) > 10+n+maxSurvey {
		return 0, 0, "", "", false
	}
	return b[0], binary.BigEndian.Uint64(b[1:]), string(b[10 : 10+n]), string(b[10+n:]), true
}
