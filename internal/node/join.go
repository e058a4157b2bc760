package node

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/ollelogdahl/concord/internal/bootstrap"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// Delays between attempts to join.
const (
	joinDelayMin  = 20 * time.Millisecond
	joinDelayBusy = 250 * time.Millisecond // the ring answers and is being rebuilt
	joinDelayMax  = time.Second
)

// namesLag is how long the others may see an old address behind the name that the
// member advertises, or none: names take a while to follow a member that moves.
const namesLag = 30 * time.Second

// joinReportEvery is how often the log is told what has become of a join so far.
const joinReportEvery = 10 * time.Second

// joinReport is when the log is to be told of a join. The zero joinReport is never.
type joinReport struct {
	due   <-chan time.Time
	began time.Time
}

// JoinError is why a join did not succeed: the causes of the last attempt, and
// the error of the context if that ended it.
type JoinError struct {
	Causes []protocol.JoinCause
	Ctx    error // nil: trying again cannot help
	// Given says of addresses which name given they were resolved from.
	Given map[string]string
}

func (e *JoinError) Error() string {
	var b strings.Builder
	b.WriteString("join")
	if e.Ctx != nil {
		fmt.Fprintf(&b, ": %v", e.Ctx)
	}
	for _, c := range e.Causes {
		fmt.Fprintf(&b, "; %s", describe(c))
	}
	return b.String()
}

// whom names a member that was asked.
func whom(x ring.Member) string {
	if x.Name == "" {
		return x.Addr
	}
	return x.Name + " at " + x.Addr
}

// describe says in words why a join through one member did not succeed.
func describe(c protocol.JoinCause) string {
	at := whom(c.At)
	switch {
	case c.Failure != nil:
		return fmt.Sprintf("%s: %v", at, c.Failure)
	case c.Refusal.Detail != "":
		return fmt.Sprintf("%s: %v: %s", at, c.Refusal.Reason, c.Refusal.Detail)
	case !c.Refusal.Other.IsZero():
		return fmt.Sprintf("%s: %v by %s", at, c.Refusal.Reason, c.Refusal.Other)
	}
	return fmt.Sprintf("%s: %v", at, c.Refusal.Reason)
}

// Join makes the node a member of the ring that the addresses lead to. What can
// get better is tried again until ctx ends.
func (n *Node) Join(ctx context.Context, addrs []string) error {
	return n.JoinOrFound(ctx, addrs, nil, 0)
}

// JoinOrFound is Join by the addresses or names given, resolved anew for each
// attempt, and by addresses recalled from an earlier life. With found above zero,
// where there is no ring, those that look for one agree on who founds it, or this
// member does after that time; see protocol.Join.
func (n *Node) JoinOrFound(ctx context.Context, given, recalled []string, found time.Duration) error {
	err := n.joinOrFound(ctx, given, recalled, found)
	if je, ok := err.(*JoinError); ok && n.origins.Load() != nil {
		je.Given = map[string]string{}
		for addr, from := range *n.origins.Load() {
			je.Given[addr] = from.given
		}
	}
	return err
}

func (n *Node) joinOrFound(ctx context.Context, given, recalled []string, found time.Duration) error {
	join := protocol.Join{Found: found, Seeds: slices.Concat(given, recalled)}
	if found > 0 {
		join.Recalled = recalled
	}
	delay := joinDelayMin
	var last []protocol.JoinCause
	var unreachedSince time.Time // since when all attempts ended because nobody reached this member; zero: the last did not
	var report joinReport
	if n.log != nil {
		ticker := time.NewTicker(joinReportEvery)
		defer ticker.Stop()
		report = joinReport{due: ticker.C, began: time.Now()}
	}
	for {
		via, open := n.places(ctx, given)
		join.Via, join.Open = via, open || n.mayBeMore(given)
		if found == 0 {
			join.Via = slices.Concat(via, recalled)
		}
		causes, err := n.joinOnce(ctx, join, given, last, report)
		if err != nil {
			return &JoinError{Causes: causes, Ctx: err}
		}
		if causes == nil {
			return nil
		}
		unreached := slices.ContainsFunc(causes, func(c protocol.JoinCause) bool { return c.Refusal.Reason == protocol.NotReached })
		switch {
		case !unreached:
			unreachedSince = time.Time{}
		case unreachedSince.IsZero():
			unreachedSince = time.Now()
			if n.followsName() {
				n.Note(slog.LevelWarn, "not reachable by the advertised name yet", slog.Any("error", &JoinError{Causes: causes}))
			}
			unreached = false
		case n.followsName():
			unreached = time.Since(unreachedSince) > namesLag
		}
		if n.hopeless(causes, unreached) {
			return &JoinError{Causes: causes}
		}
		join.Attempt++
		last = causes
		n.counters.joinRetries.Add(1)
		for again := time.After(delay/2 + rand.N(delay)); again != nil; {
			select {
			case <-again:
				again = nil
			case <-report.due:
				n.logJoining(join.Attempt-1, last, report)
			case <-ctx.Done():
				return &JoinError{Causes: last, Ctx: ctx.Err()}
			case <-n.ctx.Done():
				return ErrClosed
			}
		}
		limit := joinDelayMax
		if causes[len(causes)-1].Failure == nil && unreachedSince.IsZero() {
			limit = joinDelayBusy
		}
		delay = min(2*delay, limit)
	}
}

// followsName reports whether the address at which this member is reached is a name,
// which may come to lead here.
func (n *Node) followsName() bool {
	return n.resolver != nil && n.resolver.DNS != nil && bootstrap.IsName(n.cfg.Self.Addr)
}

// hopeless reports whether a cause that trying again cannot mend ended the
// attempt. One address of another kind of ring does not, while others may be right;
// nor does an address that leads to this member itself, as it may lead to another the
// next time; nor does not being reached, unless unreached says that it has lasted: for
// two attempts, or for namesLag by a name. That another member has answered that
// advertises the same address does at once.
func (n *Node) hopeless(causes []protocol.JoinCause, unreached bool) bool {
	self := n.Snapshot().View.Self
	all := true
	for _, c := range causes {
		switch f := c.Failure; {
		case f == nil && c.Refusal.Reason == protocol.NotReached:
			other := c.Refusal.Other
			if unreached || other.Addr == self.Addr && other.ID != self.ID {
				return true
			}
			all = false
		case f == nil && c.Permanent():
			return true
		default:
			all = all && c.Permanent()
		}
	}
	return all
}

// merge returns the causes of the newest attempt, and of the one before for
// those that the newest did not come to.
func merge(last, newest []protocol.JoinCause) []protocol.JoinCause {
	out := slices.Clone(newest)
	for _, c := range last {
		if !slices.ContainsFunc(newest, func(n protocol.JoinCause) bool { return n.At.Addr == c.At.Addr }) {
			out = append(out, c)
		}
	}
	return out
}

// joinOnce makes one attempt. Causes are nil if it succeeded; err is that of a
// context that ended it, and the causes are then those of the attempt before too.
func (n *Node) joinOnce(ctx context.Context, join protocol.Join, given []string, last []protocol.JoinCause, report joinReport) ([]protocol.JoinCause, error) {
	done := make(chan []protocol.JoinCause, 1)
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil, ErrClosed
	}
	n.joinDone = done
	n.stepLocked(join)
	if join.Found > 0 && n.resolver != nil && slices.ContainsFunc(given, bootstrap.IsName) {
		looking, found := context.WithCancel(n.ctx)
		defer found()
		n.wg.Go(func() { n.redirect(looking, given) })
	}
	n.mu.Unlock()
	for ctx.Err() == nil {
		select {
		case causes := <-done:
			return causes, nil
		case <-report.due:
			n.logJoining(join.Attempt, last, report)
		case <-ctx.Done():
		case <-n.ctx.Done():
			return nil, ErrClosed
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.joinDone == nil {
		return <-done, nil // it ended at the same moment
	}
	n.joinDone = nil
	if n.view.Phase.InRing() {
		return nil, nil // a member already; only the one before is not told yet
	}
	causes := n.joinCauses(last)
	if !n.closed {
		n.stepLocked(protocol.GiveUp{})
	}
	return causes, ctx.Err()
}

// joinCauses are why the open join has not succeeded yet, those of the attempt
// before among them. Callers hold mu.
func (n *Node) joinCauses(last []protocol.JoinCause) []protocol.JoinCause {
	causes, waiting := n.machine.JoinCauses()
	if waiting.Addr != "" {
		open := protocol.JoinCause{At: waiting, Failure: &protocol.Failure{Kind: protocol.TimedOut, Detail: "no answer yet"}}
		last = merge([]protocol.JoinCause{open}, last) // unless it has answered an earlier attempt
	}
	return merge(last, causes)
}

// logJoining logs what has become of a join so far.
func (n *Node) logJoining(attempt int, last []protocol.JoinCause, report joinReport) {
	n.mu.Lock()
	causes, phase := n.joinCauses(last), n.view.Phase
	n.mu.Unlock()
	n.Note(slog.LevelWarn, "in no ring yet", slog.String("phase", phase.String()), slog.Duration("for", time.Since(report.began).Truncate(time.Second)),
		slog.Int("attempt", attempt+1), slog.String("answers", answers(causes)))
}

// logFounding logs that a ring was founded though some of the addresses given have
// not answered: there may be another ring there.
func (n *Node) logFounding(unanswered []protocol.JoinCause) {
	if len(unanswered) > 0 {
		n.Note(slog.LevelWarn, "ring founded, though not every address has answered", slog.String("answers", answers(unanswered)))
	}
}
