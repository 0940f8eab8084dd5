package config

import "net/url"

// LoadSource says how this node learns which load its PoP has.
type LoadSource struct {
	URL string `yaml:"url"` // http or https, answers {"requests_per_second": N}; empty: it is told over the admin API, or not known
}

func (ck *checker) load() {
	if ck.Load.URL == "" || ck.reported["load.url"] {
		return
	}
	if u, err := url.Parse(ck.Load.URL); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		ck.errorf("load.url", "want a URL that answers the load of this PoP, such as http://127.0.0.1:9100/load, got %q", withoutPassword(ck.Load.URL))
	}
}
