package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"edged/mapper/beacon"
)

// Options say where ClickHouse is.
type Options struct {
	URLs     []string // http or https, of all servers of the cluster: each is a shard
	Cluster  string   // as the servers name it in remote_servers
	Database string
	User     string
	Password string        // goes in a header, and nowhere else
	Timeout  time.Duration // of one request, 1s or more
}

// Engine aggregates in ClickHouse.
type Engine struct {
	o       Options
	servers []*server
	now     func() time.Time
}

// identifier is what may stand in a statement without quotes.
var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)

// New checks the options. It makes no connection.
func New(o Options) (*Engine, error) {
	switch {
	case len(o.URLs) == 0:
		return nil, errors.New("no clickhouse servers: want the url of each")
	case o.Timeout < time.Second:
		return nil, fmt.Errorf("bad clickhouse timeout %s: want 1s or more", o.Timeout)
	}
	if err := errors.Join(CheckName(o.Cluster), CheckName(o.Database)); err != nil {
		return nil, err
	}
	e := &Engine{o: o, now: time.Now}
	client := &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute},
		// A redirect would take the password to who knows where.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	for i, text := range o.URLs {
		if err := CheckURL(text); err != nil {
			return nil, err
		}
		if slices.Contains(o.URLs[:i], text) {
			return nil, fmt.Errorf("clickhouse url %q stands twice", text)
		}
		e.servers = append(e.servers, &server{url: text, client: client, user: o.User, password: o.Password, timeout: o.Timeout})
	}
	return e, nil
}

// CheckName says what is wrong with the name of a cluster or a database.
func CheckName(name string) error {
	if !identifier.MatchString(name) {
		return fmt.Errorf("bad clickhouse name %q: want up to 63 letters, digits and \"_\"", name)
	}
	return nil
}

// CheckURL says what is wrong with a server's URL.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return errors.New("bad clickhouse url: want one like http://192.0.2.1:8123/") // it may hold a password
	case u.User != nil:
		return fmt.Errorf("clickhouse url of %q holds a user: give user and password_file instead", u.Host)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("bad clickhouse url %q: want one like http://192.0.2.1:8123/", text)
	}
	return nil
}

// A run's number begins with the second in which it began, so that a later one can
// tell how old its rows are.
const (
	runBits = 20 // of chance below the second
	runAge  = 24 * time.Hour
)

// Begin begins a run: it checks all servers, and drops what runs of more than a day
// ago left.
func (e *Engine) Begin(ctx context.Context) (beacon.Aggregation, error) {
	if err := e.eachServer(func(s *server) error {
		if err := e.checkSchema(ctx, s); err != nil {
			return err
		}
		return e.dropOld(ctx, s)
	}); err != nil {
		return nil, err
	}
	r := &run{e: e, ctx: ctx, id: uint64(e.now().Unix())<<runBits | rand.Uint64N(1<<runBits)}
	for _, s := range e.servers {
		r.shards = append(r.shards, &shard{server: s})
	}
	return r, nil
}

// eachServer does something with all servers at once. All errors are reported.
func (e *Engine) eachServer(do func(*server) error) error {
	errs := make(chan error)
	for _, s := range e.servers {
		go func() { errs <- do(s) }()
	}
	var all []error
	for range e.servers {
		all = append(all, <-errs)
	}
	slices.SortFunc(all, func(a, b error) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return errors.Join(all...)
}

// dropOld drops the rows of runs that began more than a day ago.
func (e *Engine) dropOld(ctx context.Context, s *server) error {
	rows, err := s.rows(ctx, "SELECT DISTINCT partition FROM system.parts WHERE database = '"+e.o.Database+"' AND table = '"+localTable+"' AND active")
	if err != nil {
		return err
	}
	for _, row := range rows {
		id, err := strconv.ParseUint(row[0], 10, 64)
		if err != nil {
			return fmt.Errorf("clickhouse %q: table %s has a partition %q: want the numbers of runs", s.url, localTable, row[0])
		}
		if e.now().Sub(time.Unix(int64(id>>runBits), 0)) > runAge {
			if err := e.drop(ctx, s, id); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *Engine) drop(ctx context.Context, s *server, id uint64) error {
	return s.exec(ctx, fmt.Sprintf("ALTER TABLE %s.%s DROP PARTITION %d", e.o.Database, localTable, id))
}
