package admin

import (
	"context"
	"net/netip"
	"time"

	"edged/health/override"
)

// Node is what the API shows and changes.
type Node interface {
	Health() Health

	// Status tells what the node serves. It becomes the JSON of /v1/status.
	Status() any

	// Config returns the effective configuration as YAML, without secrets.
	Config() ([]byte, error)

	// Explain answers a question and tells how. It becomes the JSON of
	// /v1/explain, or its text if it has a method WriteText. It errs when the question makes no sense to the node.
	Explain(Question) (any, error)

	// Verdicts tells how fit the endpoints are, and who says so. It becomes the
	// JSON of /v1/health.
	Verdicts() any

	// History lists the last changes of verdicts, oldest first. It becomes the
	// JSON of /v1/health/history.
	History() any

	// Overrides lists what operators ask for. It becomes the JSON of
	// /v1/overrides.
	Overrides() any

	// Override carries out what an operator asks for, or tells why not. It may
	// wait for other nodes.
	Override(context.Context, override.Request) Overriding

	// Load tells which load the PoPs have and what they cost. It becomes the JSON of
	// /v1/load.
	Load() any

	// TellLoad says which load the node's PoP has, in requests/s. It errs when there
	// is no such load.
	TellLoad(requests float64) error

	// VIPs is the node's part in announcing VIPs; nil: it announces none.
	VIPs() VIPs

	// Beacons is what the node does with measurements.
	Beacons() Beacons

	// Reload reads the configuration again and serves what it says, or keeps
	// what is served and tells why.
	Reload(context.Context) Reload
}

// Health is the body of /healthz.
type Health struct {
	Status  string  `json:"status"` // "ok", or "alarm": serving, but not what the files say
	Alarms  []Alarm `json:"alarms"`
	ViewAge float64 `json:"view_age_seconds"` // since what is served was built
	Version string  `json:"version"`
}

// Alarm is one thing that an engineer must look at.
type Alarm struct {
	Reason string    `json:"reason"` // the label of the metric edged_alarm
	Detail []string  `json:"detail"`
	Since  time.Time `json:"since"`
}

// Question is what /v1/explain is asked.
type Question struct {
	Name     string       // as given
	Type     string       // mnemonic, "A" by default
	Client   netip.Prefix // the client's network, as ECS would carry it; zero: none
	Resolver netip.Addr   // zero: none
}

// Overriding is the outcome of a request for an override.
type Overriding struct {
	Applied bool            `json:"applied"` // or, in a dry run, it would be
	Error   string          `json:"error,omitempty"`
	Result  override.Result `json:"result"`
}

// Reload is the outcome of a reload.
type Reload struct {
	Applied  bool     `json:"applied"`
	Errors   []string `json:"errors"` // why it was not applied
	Warnings []string `json:"warnings"`
}
