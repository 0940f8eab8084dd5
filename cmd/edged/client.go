package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"edged/admin"
	"edged/config"
)

// nodeFlags say which running node a command talks to.
type nodeFlags struct {
	node      string
	config    string
	tokenFile string
	caFile    string
	certFile  string
	keyFile   string
}

func (f *nodeFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.node, "node", os.Getenv("EDGED_NODE"), "the node: a control socket's path or a `URL` (default: $EDGED_NODE, else control.sock in the data_dir)")
	f.addWho(cmd)
}

// addWho adds the flags that say who calls, and whom to trust.
func (f *nodeFlags) addWho(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.tokenFile, "token-file", "", "the `FILE` with the bearer token, for calls over a URL that change something or read the audit log or measurements")
	cmd.Flags().StringVar(&f.caFile, "ca-file", "", "PEM `FILE` of certificates that may vouch for the node, in place of the system's")
	cmd.Flags().StringVar(&f.certFile, "cert-file", "", "PEM `FILE` with a client certificate, in place of a token")
	cmd.Flags().StringVar(&f.keyFile, "key-file", "", "PEM `FILE` with its key")
}

// client connects to the node named, or else to the one on this machine.
func (f *nodeFlags) client() (*admin.Client, error) {
	if f.node == "" {
		f.node = controlSocket(config.Path(config.GuessDataDir(f.config)))
		if _, err := os.Stat(f.node); err != nil {
			where := "in the default data_dir"
			if f.config != "" {
				where = fmt.Sprintf("in the data_dir of %q", f.config)
			}
			return nil, fmt.Errorf("no control socket %q, %s: is the node running? If it was started with another data_dir, name its socket with --node", f.node, where)
		}
	}
	return f.clientOf(f.node)
}

// clientOf connects to a node as the flags say who calls.
func (f *nodeFlags) clientOf(node string) (*admin.Client, error) {
	token := ""
	if f.tokenFile != "" {
		text, err := os.ReadFile(f.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("--token-file: %w", err)
		}
		token = strings.TrimSpace(string(text))
	}
	c, err := admin.NewClient(node, token)
	if err != nil || f.caFile+f.certFile+f.keyFile == "" {
		return c, err
	}
	secure, err := f.tls()
	if err != nil {
		return nil, err
	}
	c.UseTLS(secure)
	return c, nil
}

// tls is whom the flags trust, and what they show.
func (f *nodeFlags) tls() (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.caFile != "" {
		text, err := os.ReadFile(f.caFile)
		if err != nil {
			return nil, fmt.Errorf("--ca-file: %w", err)
		}
		if t.RootCAs = x509.NewCertPool(); !t.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("--ca-file: %q has no PEM certificate", f.caFile)
		}
	}
	if f.certFile+f.keyFile != "" {
		own, err := tls.LoadX509KeyPair(f.certFile, f.keyFile)
		if err != nil {
			return nil, fmt.Errorf("--cert-file and --key-file: %w", err)
		}
		t.Certificates = []tls.Certificate{own}
	}
	return t, nil
}

// show fetches path from the node, as JSON for programs, or into v for write to
// show it to a person.
func (f *nodeFlags) show(cmd *cobra.Command, path string, asJSON bool, v any, write func(io.Writer)) error {
	c, err := f.client()
	if err != nil {
		return err
	}
	defer c.Close()
	if asJSON {
		var raw json.RawMessage
		if err := c.Get(cmd.Context(), path, nil, &raw); err != nil {
			return err
		}
		return writeJSON(cmd.OutOrStdout(), raw)
	}
	if err := c.Get(cmd.Context(), path, nil, v); err != nil {
		return err
	}
	write(cmd.OutOrStdout())
	return nil
}

func reloadCommand() *cobra.Command {
	var f nodeFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "make a node read its files again",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.client()
			if err != nil {
				return err
			}
			defer c.Close()
			r, err := c.Reload(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				err = writeJSON(cmd.OutOrStdout(), r)
			} else {
				for _, w := range r.Warnings {
					fmt.Fprintln(cmd.ErrOrStderr(), "warning:", w)
				}
				for _, e := range r.Errors {
					fmt.Fprintln(cmd.ErrOrStderr(), e)
				}
				if r.Applied {
					fmt.Fprintln(cmd.OutOrStdout(), "reloaded")
				} else {
					fmt.Fprintln(cmd.ErrOrStderr(), "edged: reload refused; what was served is served still")
				}
			}
			if err == nil && !r.Applied {
				err = errReported
			}
			return err
		},
	}
	f.add(cmd)
	configFlag(cmd, &f.config)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the outcome as JSON")
	return cmd
}

func statusCommand() *cobra.Command {
	var f nodeFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "show what a node serves",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var s status
			return f.show(cmd, "/v1/status", asJSON, &s, s.writeText)
		},
	}
	f.add(cmd)
	configFlag(cmd, &f.config)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the status as JSON")
	return cmd
}

func explainCommand() *cobra.Command {
	var f nodeFlags
	var path, client, resolver string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain NAME [TYPE]",
		Short: "show what a client gets for a name, and why",
		Long: `Show what a client gets for a name, and every step that led to it. A running node
is asked or, with --config, the files are read and no node is needed.`,
		Example: `  edged explain www.example.com --client 203.0.113.7
  edged explain www.example.com AAAA --client 2001:db8::/48 --resolver 8.8.8.8 --json
  edged explain www.example.com --client 203.0.113.7 --config edged.yaml`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			rrtype := "A"
			if len(args) == 2 {
				rrtype = args[1]
			}
			q, err := admin.ParseQuestion(args[0], rrtype, client, resolver)
			if err != nil {
				return err
			}
			if path != "" {
				return explainOffline(cmd, path, q, asJSON)
			}
			return explainNode(cmd.Context(), cmd, f, q, asJSON)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&client, "client", "", "the client's address or `PREFIX`, as its resolver would send it")
	cmd.Flags().StringVar(&resolver, "resolver", "", "the `ADDRESS` of the resolver that asks")
	cmd.Flags().StringVar(&path, "config", "", "read this configuration `FILE` and what it names instead of asking a node")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the trace as JSON")
	cmd.MarkFlagsMutuallyExclusive("node", "config")
	return cmd
}

func explainOffline(cmd *cobra.Command, path string, q admin.Question, asJSON bool) error {
	l, _, err := load(path)
	if err != nil {
		return err
	}
	e, err := explain(l, q)
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(cmd.OutOrStdout(), e)
	}
	return e.WriteText(cmd.OutOrStdout())
}

func explainNode(ctx context.Context, cmd *cobra.Command, f nodeFlags, q admin.Question, asJSON bool) error {
	c, err := f.client()
	if err != nil {
		return err
	}
	defer c.Close()
	query := url.Values{"name": {q.Name}, "type": {q.Type}}
	if q.Client != (netip.Prefix{}) {
		query.Set("client", q.Client.String())
	}
	if q.Resolver.IsValid() {
		query.Set("resolver", q.Resolver.String())
	}
	if !asJSON {
		query.Set("format", "text")
	}
	var text []byte
	if err := c.Get(ctx, "/v1/explain", query, &text); err != nil {
		return err
	}
	_, err = cmd.OutOrStdout().Write(text)
	return err
}
