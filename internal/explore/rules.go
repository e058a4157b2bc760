package explore

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ollelogdahl/concord/internal/invariant"
)

// Holding are the rules that hold in every state of cfg. Not all of Zave's
// invariant does at every grain: with question and use apart an answer may be
// old when it is used, and then the principals can become fewer by one until the
// next introductions, though the ring stays one. With Takeover the search of a joiner is
// as old. So they can with restarts, as long as an earlier incarnation is listed at the
// identifier of a later one.
func Holding(cfg Config) []invariant.Rule {
	rules := append(invariant.Always(), invariant.WholeCircle, invariant.FromPredecessor, invariant.AnswersForItsArc, invariant.IdealLookups)
	if cfg.Start == Strangers {
		rules = append(rules, invariant.OriginsApart(strangers[0], strangers[1]))
	}
	if cfg.Assume != Zave || cfg.Suspicions != 0 || cfg.Start.rings() {
		return rules
	}
	for _, r := range invariant.Zave() {
		if r.Name == invariant.SufficientPrincipals.Name && (cfg.JoinsApart || cfg.Takeover || cfg.Grain != Instant || cfg.Restarts > 0) {
			continue
		}
		rules = append(rules, r)
	}
	return rules
}

// HoldingSteps are the rules that hold of every step of cfg. Whoever may be taken for dead by
// mistake may have its arc taken over. So may the predecessor of one without a list that has any
// memory: it may not remember that it was answered. One on its way in may enter another ring than
// that which has consented. Where nobody is, nobody is replaced without knowing it.
func HoldingSteps(cfg Config) []invariant.ChangeRule {
	rules := []invariant.ChangeRule{invariant.AskedFirst, invariant.ReleasedFirst, invariant.ServedMeanwhile}
	if cfg.Suspicions > 0 {
		rules = append(rules, invariant.Told)
	}
	if cfg.Suspicions == 0 && cfg.Losses == 0 && !cfg.Start.rings() && (cfg.Memory >= 0 || cfg.Assume != Nothing && cfg.Start == Ring) {
		rules = append(rules, invariant.NoTakeover)
	}
	return rules
}

// Named are the rules of these names.
func Named(names []string) ([]invariant.Rule, error) {
	all := slices.Concat(invariant.Always(), invariant.Zave(), invariant.Owning(), []invariant.Rule{invariant.AnswersForItsArc, invariant.IdealLookups})
	var rules []invariant.Rule
	for _, name := range names {
		i := slices.IndexFunc(all, func(r invariant.Rule) bool { return r.Name == name })
		if i < 0 {
			var known []string
			for _, r := range all {
				known = append(known, r.Name)
			}
			return nil, fmt.Errorf("no rule is called %q; there are %s", name, strings.Join(known, ", "))
		}
		rules = append(rules, all[i])
	}
	return rules, nil
}

// Validate says what is wrong with cfg, nil if nothing is.
func (cfg *Config) Validate() error {
	switch {
	case cfg.Members < 2 || cfg.Members > maxMembers:
		return fmt.Errorf("members: %d; 2 to %d can be explored", cfg.Members, maxMembers)
	case cfg.Pairs && (cfg.Members%2 != 0 || cfg.Restarts > 0 || cfg.Start.rings()):
		return errors.New("pairs: the members must be even in number, without restarts, in one ring")
	case cfg.Successors < 1 || cfg.Successors >= maxMembers:
		return fmt.Errorf("successors: %d; 1 to %d can be explored", cfg.Successors, maxMembers-1)
	case cfg.Grain < Instant || cfg.Grain > Messages:
		return fmt.Errorf("grain: %d; there are 1, 2 and 3", cfg.Grain)
	case cfg.Restarts < 0 || cfg.Restarts >= maxIncarnations:
		return fmt.Errorf("restarts: %d; 0 to %d", cfg.Restarts, maxIncarnations-1)
	case cfg.Memory < Abstract || cfg.Memory > 64:
		return fmt.Errorf("memory: %d acquaintances; 0 to 64, or abstract", cfg.Memory)
	case cfg.Quiet < 0 || cfg.Quiet > maxQuiet:
		return fmt.Errorf("quiet: %d rounds; 0 to %d", cfg.Quiet, maxQuiet)
	}
	return nil
}
