package sim

import (
	"fmt"
	"slices"
	"strings"
)

// Kind is one element of a set of kinds: its bit, its name, and what it does.
type Kind[S ~uint32] struct {
	Set  S
	Name string
	Does string
}

// parseKinds reads a list of names separated by commas. Of an unknown one it says what it
// is not a name of, and which words stand for more than one kind.
func parseKinds[S ~uint32](kinds []Kind[S], list, what, words string) (S, error) {
	var out S
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(kinds, func(k Kind[S]) bool { return k.Name == strings.TrimSpace(name) })
		if i < 0 {
			return 0, fmt.Errorf("%s %q: use %s, or some of %s", what, name, words, namesOf(kinds, ^S(0)))
		}
		out |= kinds[i].Set
	}
	return out, nil
}

// namesOf are the names of the kinds in a set, separated by commas.
func namesOf[S ~uint32](kinds []Kind[S], in S) string {
	var names []string
	for _, k := range kinds {
		if in&k.Set != 0 {
			names = append(names, k.Name)
		}
	}
	return strings.Join(names, ",")
}
