package bgp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Phase says how far a rollout is.
type Phase string

// The phases. The middle three repeat for each wave, after a preflight.
const (
	PhasePlanned    Phase = "planned"
	PhasePreflight  Phase = "preflight"  // the wave's nodes are asked whether they can
	PhaseActing     Phase = "acting"     // they are given their plans
	PhaseConfirming Phase = "confirming" // they have stored them, and bring them about
	PhaseBaking     Phase = "baking"     // they do as planned, and are watched
	PhasePaused     Phase = "paused"     // nothing happens until an operator says so
	PhaseAborting   Phase = "aborting"   // nodes are given back what they had
	PhaseAborted    Phase = "aborted"
	PhaseDone       Phase = "done"
)

// The timings of a rollout.
const (
	DefaultBake = 120 * time.Second
	MaxBake     = 24 * time.Hour

	reachWithin = 30 * time.Second // for what was planned, beside what draining takes
	unreachable = 15 * time.Second // until a node that does not answer aborts its wave

	maxServfail = 0.01 // of the answers since the node acted; more than before, too
	minQueries  = 100  // so many that a share of them says something
)

// Rollout brings a fleet plan to the nodes, wave by wave. It is a pure machine:
// Step takes what is known of the nodes and returns the calls to make. It may be
// kept as JSON before the calls of a step are made; then a coordinator that dies
// loses nothing of what it may have changed. Times are since the coordinator's
// start.
//
// It aborts by itself when a node of the current wave answers too often with
// SERVFAIL, or too slowly, gets another share of a VIP's queries than forecast, does
// not do as planned in time, loses a session, restarts, takes another plan or cannot
// be reached. Then the nodes of that wave get back the
// plans that they had, whole: address, socket and route.
//
// The zero value is of no use: see [NewRollout]. It is for one goroutine.
type Rollout struct {
	Plan   FleetPlan  `json:"plan"`
	Waves  [][]string `json:"waves"`
	Wave   int        `json:"wave"` // the current one, from 0
	Phase  Phase      `json:"phase"`
	Before Phase      `json:"before,omitempty"`  // of PhasePaused: what goes on when it is resumed
	Cause  string     `json:"cause,omitempty"`   // why it is paused, aborting or aborted, in words
	All    bool       `json:"all,omitempty"`     // aborting: all waves, not only the current one
	GiveUp bool       `json:"give_up,omitempty"` // aborting: what it was the first to announce goes without promises
	Forced bool       `json:"forced,omitempty"`  // aborting: so an operator said
	Asked  bool       `json:"asked,omitempty"`   // aborting, aborted: an operator wanted it

	// Unsaved is why whoever rolls it out could not make the last step durable; empty: it is.
	Unsaved string `json:"unsaved,omitempty"`

	Bake   time.Duration `json:"bake"` // how long each wave is watched
	Actor  string        `json:"actor"`
	Reason string        `json:"reason"`
	Begun  time.Time     `json:"begun,omitzero"` // by the coordinator's clock: for people

	Nodes  map[string]*Progress `json:"nodes"`
	Others []Member             `json:"others,omitempty"` // that announce VIPs of the plan and have no step in it
	Shift  bool                 `json:"shift,omitempty"`  // the operator said that shares of traffic may change otherwise than forecast
	Gauge  gauge                `json:"gauge,omitzero"`   // of the current wave

	Probers []Member         `json:"probers,omitempty"` // see Probe
	Sights  map[string]sight `json:"sights,omitempty"`  // by prober and prefix, with a space between; of the current wave

	since   time.Duration // of the phase
	settled int           // steps in which peers of the wave were sent what is planned, and it does not bake yet
}

// Progress is how far a node is.
type Progress struct {
	Touched  bool   `json:"touched,omitempty"`  // it may have stored the plan
	Restored bool   `json:"restored,omitempty"` // it has what it had before
	Left     string `json:"left,omitempty"`     // why it was not restored, or not for sure
	Owed     bool   `json:"owed,omitempty"`     // it could not be reached, or is unwritten: it is restored as soon as it can
	Start    Tally  `json:"start"`              // when it was touched

	// Unwritten says that it has what it had before, or did, but could not write that: a restart
	// takes it back to the plan of the rollout, and then it is restored again.
	Unwritten bool `json:"unwritten,omitempty"`

	ready   bool          // it passed the preflight
	reached time.Duration // when it last answered, or its phase began
	planned time.Duration // when it last did as planned, or its phase began
	held    bool          // restoring: it had what it had before when it last answered
}

// Tally is what a node counts from its start.
type Tally struct {
	Queries   uint64 `json:"queries"`
	Servfails uint64 `json:"servfails"` // answers with SERVFAIL among them
	Flaps     uint64 `json:"flaps"`     // BGP sessions that were lost

	Latency Latency `json:"latency,omitzero"` // of a sample of the answers
}

// NodeStatus is what a node says of itself to whoever rolls a plan out.
type NodeStatus struct {
	Generation uint64 `json:"generation"` // of the stored plan
	Plan       string `json:"plan"`       // its ID

	// Confirmed says that each VIP is as the plan or an operator wants it, and
	// that at least one established peer was sent exactly these routes.
	Confirmed bool   `json:"confirmed"`
	Waits     string `json:"waits,omitempty"` // what it waits for if not, in words

	// Unstored says that a plan that was restored could not be written, yet.
	Unstored bool `json:"unstored,omitempty"`

	// Answered names of each VIP what answered, and Out what of that a peer was sent, too.
	Answered map[string][]netip.Prefix `json:"answered"`
	Out      map[string][]netip.Prefix `json:"out"`

	AnswerTTL time.Duration `json:"answer_ttl"` // for which answers may still name its PoP

	Traffic map[string]Traffic `json:"traffic,omitempty"` // by VIP
	Tally
}

// NodeFacts is what is known of a node.
type NodeFacts struct {
	Reached bool // it answered just now; else its status is an old one
	NodeStatus
}

// Call is what a node is asked to do.
type Call string

// The calls. Each may be made again when nobody knows what became of it.
const (
	CallPreflight Call = "preflight" // say whether the plan could be stored now
	CallApply     Call = "apply"     // store it, and do so
	CallRestore   Call = "restore"   // likewise, also over a plan that it was not made over
)

// Action is a call to make.
type Action struct {
	Node string
	Call Call
	Plan NodePlan
}

// NewRollout returns the rollout of a plan that was judged. A bake of 0 means
// DefaultBake; negative, none.
func NewRollout(p FleetPlan, bake time.Duration, actor, reason string) (*Rollout, error) {
	switch {
	case len(p.Steps) == 0:
		return nil, fmt.Errorf("plan %s changes nothing: there is nothing to apply", p.ID)
	case bake > MaxBake:
		return nil, fmt.Errorf("bake %s is too long: want at most %s", bake, MaxBake)
	case bake == 0:
		bake = DefaultBake
	}
	r := &Rollout{
		Plan: p, Waves: Waves(p), Phase: PhasePlanned, Bake: max(bake, 0), Actor: actor, Reason: reason,
		Nodes: map[string]*Progress{},
	}
	for _, node := range p.Nodes() {
		r.Nodes[node] = &Progress{}
	}
	return r, nil
}

// Clone returns a copy that shares only what never changes.
func (r *Rollout) Clone() *Rollout {
	c := *r
	c.Nodes = make(map[string]*Progress, len(r.Nodes))
	for node, p := range r.Nodes {
		copied := *p
		c.Nodes[node] = &copied
	}
	return &c
}

// Outline returns a copy for those who ask how far it is: without what nodes
// announce, and what was counted.
func (r *Rollout) Outline() *Rollout {
	c := r.Clone()
	c.Plan = FleetPlan{ID: r.Plan.ID, Selector: r.Plan.Selector}
	for _, s := range r.Plan.Steps {
		named := NodePlan{Node: s.Plan.Node, PoP: s.Plan.PoP, Generation: s.Plan.Generation}
		c.Plan.Steps = append(c.Plan.Steps, NodeStep{Plan: named})
	}
	c.Gauge, c.Sights = gauge{}, nil
	return c
}

// Watched returns the nodes whose facts Step wants now, sorted; none while
// nothing is to be done.
func (r *Rollout) Watched() []string {
	var nodes []string
	for _, node := range r.Plan.Nodes() {
		p := r.Nodes[node]
		watched := false
		switch r.Phase {
		case PhaseAborting:
			watched = p.Touched && !p.Restored
		case PhaseAborted, PhasePaused:
			watched = p.Owed
		}
		if watched {
			nodes = append(nodes, node)
		}
	}
	if r.Running() { // shares need all counts
		nodes = r.everybody()
		slices.Sort(nodes)
	}
	return nodes
}

// Running says whether waves go on: nodes may be given their plans. Else the rollout
// stands still, or nodes get back what they had.
func (r *Rollout) Running() bool {
	switch r.Phase {
	case PhasePlanned, PhasePreflight, PhaseActing, PhaseConfirming, PhaseBaking:
		return true
	}
	return false
}

// Ended says whether the rollout is over. Then others may begin, and it can
// still be rolled back.
func (r *Rollout) Ended() bool { return r.Phase == PhaseDone || r.Phase == PhaseAborted }

// Back says whether nothing of a rollout that has ended is left to be taken back.
func (r *Rollout) Back() bool {
	return r.Ended() && !slices.ContainsFunc(r.Plan.Nodes(), func(n string) bool { return r.Nodes[n].changed() })
}

// changed says whether a node may have the plan of the rollout.
func (p *Progress) changed() bool { return p.Touched && !p.Restored }

// Owing returns the nodes of a rollout that has ended which get back what they had as soon as
// that can be, sorted.
func (r *Rollout) Owing() (nodes []string) {
	for _, node := range r.Plan.Nodes() {
		if r.Ended() && r.Nodes[node].Owed && !r.Nodes[node].Restored {
			nodes = append(nodes, node)
		}
	}
	return nodes
}

// InFlight returns what others must know, and whether there is anything.
func (r *Rollout) InFlight(coordinator string) (InFlight, bool) {
	return InFlight{Plan: r.Plan.ID, Coordinator: coordinator, Nodes: r.Plan.Nodes(), VIPs: r.Plan.VIPs(), Prefixes: r.Plan.Prefixes()}, !r.Ended()
}

// Loaded is called when the rollout was read from disk: it is paused, whatever
// it was at, and never goes on by itself. Only what a node got back, and could not write, is
// still looked after.
func (r *Rollout) Loaded() {
	r.Unsaved = ""
	for _, p := range r.Nodes {
		if p.Owed && !p.Unwritten {
			p.Owed, p.Left = false, "not restored: it could not be reached; roll back again"
		}
	}
	if !r.Ended() {
		r.pause(0, "the node that rolls it out restarted")
	}
}

// Pause stops the rollout where it is, until Resume, Abort or Rollback.
func (r *Rollout) Pause(now time.Duration, actor, reason string) error {
	if r.Ended() || r.Phase == PhasePaused {
		return fmt.Errorf("the rollout of plan %s is %s: there is nothing to pause", r.Plan.ID, r.Phase)
	}
	r.pause(now, fmt.Sprintf("paused by %s: %s", actor, reason))
	return nil
}

func (r *Rollout) pause(now time.Duration, cause string) {
	if r.Phase != PhasePaused {
		r.Before = r.Phase
	}
	r.enter(PhasePaused, now, r.andBefore(cause))
}

// Resume goes on with a rollout that is paused. What was timed is timed anew.
func (r *Rollout) Resume(now time.Duration, actor, reason string) error {
	if r.Phase != PhasePaused {
		return fmt.Errorf("the rollout of plan %s is %s, not paused", r.Plan.ID, r.Phase)
	}
	r.enter(r.Before, now, r.andBefore(fmt.Sprintf("resumed by %s: %s", actor, reason)))
	r.Before = ""
	return nil
}

// andBefore adds to a cause why nodes get back what they had, which is not to be forgotten
// while they do.
func (r *Rollout) andBefore(cause string) string {
	const enough = 1000 // octets
	if (r.Phase == PhaseAborting || r.Before == PhaseAborting) && r.Cause != "" && len(r.Cause) < enough {
		return r.Cause + "; " + cause
	}
	return cause
}

// Abort gives the nodes of the current wave back what they had.
func (r *Rollout) Abort(now time.Duration, actor, reason string) error {
	if r.Ended() {
		return fmt.Errorf("the rollout of plan %s is %s: to take it back, roll it back", r.Plan.ID, r.Phase)
	}
	r.abort(now, fmt.Sprintf("aborted by %s: %s", actor, reason), false)
	r.Asked = true
	return nil
}

// Rollback gives all nodes back what they had, at once, also when the rollout is done. A node that has taken yet another plan since is left alone. With
// force, what the rollout was the first to announce goes without promises, also from
// nodes that were rolled back without.
func (r *Rollout) Rollback(now time.Duration, actor, reason string, force bool) error {
	if force && len(r.Plan.First) == 0 {
		return fmt.Errorf("it is not known of anything that the rollout of plan %s was the first to announce it, so --force has nothing to give up: "+
			"roll back without it, and end what is left by edged vip drain --force", r.Plan.ID)
	}
	anew := force && !r.Forced
	var nodes []*Progress
	for _, n := range r.Plan.Nodes() {
		if p := r.Nodes[n]; p.changed() || p.Touched && anew {
			nodes = append(nodes, p)
		}
	}
	if len(nodes) == 0 {
		return fmt.Errorf("the rollout of plan %s has changed no node that is not restored: there is nothing to roll back", r.Plan.ID)
	}
	for _, p := range nodes {
		p.Restored = false
	}
	r.abort(now, fmt.Sprintf("rolled back by %s: %s", actor, reason), true)
	r.Asked = true
	r.GiveUp, r.Forced = r.GiveUp || force, r.Forced || force
	return nil
}

func (r *Rollout) abort(now time.Duration, cause string, all bool) {
	for _, p := range r.Nodes {
		p.Left, p.Owed, p.Unwritten = "", false, false
	}
	phase := r.Phase
	if phase == PhasePaused {
		phase = r.Before
	}
	switch phase {
	case PhaseAborting, PhaseAborted: // as before
	case PhaseDone:
		r.GiveUp = false // others may rely on it
	default:
		r.GiveUp = true
	}
	r.All, r.Before = all || r.All, ""
	r.enter(PhaseAborting, now, cause)
}

// back returns the plan that takes a step back.
func (r *Rollout) back(s NodeStep) NodePlan {
	back := s.Plan.Restored(s.Prior)
	if r.GiveUp {
		back.GiveUp = r.Plan.First
	}
	if r.Forced {
		back.Generation++ // it may have been taken back without force before
	}
	return back
}

func (r *Rollout) enter(p Phase, now time.Duration, cause string) {
	r.Phase, r.since, r.Cause, r.settled = p, now, cause, 0
	for _, p := range r.Nodes {
		p.reached, p.planned, p.ready, p.held = now, now, false, false
	}
}

// Worry says what an engineer should look at; nil: nothing. An abort that somebody asked
// for is none, unless a node did not get back what it had.
func (r *Rollout) Worry() error {
	left := slices.ContainsFunc(r.Plan.Nodes(), func(node string) bool { return r.Nodes[node].Left != "" })
	if r.Phase == PhasePaused || (r.Phase == PhaseAborting || r.Phase == PhaseAborted) && (!r.Asked || left) {
		return errors.New(r.String())
	}
	return nil
}

// String returns a line for people, without times.
func (r *Rollout) String() string {
	words := fmt.Sprintf("plan %s: wave %d of %d (%s): %s", r.Plan.ID, r.Wave+1, len(r.Waves), strings.Join(r.Waves[r.Wave], " "), r.Phase)
	if r.Phase == PhasePaused {
		words += " while " + string(r.Before)
	}
	if r.Cause != "" {
		words += ": " + r.Cause
	}
	for _, node := range r.Plan.Nodes() {
		if left := r.Nodes[node].Left; left != "" {
			words += fmt.Sprintf("; %s: %s", node, left)
		}
	}
	switch {
	case r.Unsaved == "":
	case r.Running():
		words += "; it waits, for this could not be written: " + r.Unsaved
	default:
		words += fmt.Sprintf("; this is in force, but could not be written, and a restart of the node that rolls it out forgets it: %s", r.Unsaved)
	}
	return words
}

// Check says what is wrong with a rollout that was read.
func (r *Rollout) Check() error {
	running := []Phase{PhasePlanned, PhasePreflight, PhaseActing, PhaseConfirming, PhaseBaking, PhaseAborting}
	fault := ""
	switch {
	case r.Phase == PhasePaused && !slices.Contains(running, r.Before):
		fault = fmt.Sprintf("it is paused while %q", r.Before)
	case !slices.Contains(running, r.Phase) && r.Phase != PhasePaused && !r.Ended():
		fault = fmt.Sprintf("unknown phase %q", r.Phase)
	case r.Wave < 0 || r.Wave >= len(r.Waves):
		fault = fmt.Sprintf("wave %d of %d", r.Wave, len(r.Waves))
	case r.Bake < 0 || r.Bake > MaxBake:
		fault = fmt.Sprintf("bake %s", r.Bake)
	}
	waves := slices.Sorted(slices.Values(slices.Concat(r.Waves...)))
	if fault == "" && !slices.Equal(waves, r.Plan.Nodes()) {
		fault = fmt.Sprintf("its waves have the nodes %q, the plan has %q", waves, r.Plan.Nodes())
	}
	if fault == "" && len(r.Nodes) != len(waves) {
		fault = fmt.Sprintf("it knows %d nodes, its plan has %d", len(r.Nodes), len(waves))
	}
	for _, s := range r.Plan.Steps {
		if fault == "" && (r.Nodes[s.Plan.Node] == nil || s.Prior.Node != s.Plan.Node) {
			fault = fmt.Sprintf("nothing is known of node %q", s.Plan.Node)
		}
		if err := errors.Join(s.Prior.Check(), s.Plan.Check()); fault == "" && err != nil {
			fault = err.Error()
		}
	}
	if fault != "" {
		return fmt.Errorf("rollout of plan %q: %s", r.Plan.ID, fault)
	}
	return nil
}
