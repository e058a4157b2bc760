package invariant

import (
	"testing"
	"time"
)

func TestRulesOfNamings(t *testing.T) {
	for _, c := range []struct {
		name   string
		naming Naming
		rule   string // that is broken; empty: none
	}{
		{"the owner's own confirmation", Naming{Fresh: true, Claimed: true}, ""},
		{"another's confirmation", Naming{Fresh: true, Rightful: true}, OwnersOwnWord.Name},
		{"from memory, in time", Naming{Dated: true, Claimed: true, Age: time.Second, Promised: time.Second}, ""},
		{"an owner that has just come to be so", Naming{Dated: true, Rightful: true, Promised: time.Second}, ""},
		{"an owner of long ago", Naming{Dated: true, Promised: time.Second}, NotOlderThanPromised.Name},
		{"a list that nobody confirmed", Naming{Promised: time.Second}, ""},
		{"older than was asked for", Naming{Dated: true, Claimed: true, Age: 3, Promised: 1, Took: 1, Strict: true}, NotOlderThanPromised.Name},
		{"older by what the lookup took", Naming{Dated: true, Claimed: true, Age: 2, Promised: 1, Took: 1, Strict: true}, ""},
		{"older, and nobody has asked for less", Naming{Dated: true, Claimed: true, Age: 3, Promised: 1, Took: 1}, ""},
		{"a client, told by a member", Naming{Client: true, Told: true, Dated: true, Claimed: true}, ""},
		{"a client that nobody has told", Naming{Client: true, Dated: true, Claimed: true}, ToldByAMember.Name},
		{"a member by its own list", Naming{Promised: time.Second}, ""},
	} {
		for _, rule := range Namings() {
			if how := rule.Broken(c.naming); (how != "") != (rule.Name == c.rule) {
				t.Errorf("%s: %s: %q", c.name, rule.Name, how)
			}
		}
	}
}
