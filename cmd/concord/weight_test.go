//go:build unix

package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// fieldOf is what the ready line says of a name.
func fieldOf(t *testing.T, ready, name string) string {
	t.Helper()
	for _, f := range strings.Fields(ready) {
		if value, ok := strings.CutPrefix(f, name+"="); ok {
			return value
		}
	}
	t.Fatalf("%q has no %s", ready, name)
	return ""
}

func TestDrainAndWeight(t *testing.T) {
	a, ready := runMember(t, "--name", "a", "--admin", ":0", "--virtual-nodes", "4")
	addr, admin := fieldOf(t, ready, "address"), fieldOf(t, ready, "admin")
	says := func(admin string, want string, args ...string) {
		t.Helper()
		if out := string(attempt(t, append(args, "--admin", admin)...)); !strings.Contains(out, want) {
			t.Errorf("%q: %q, want %q", args, out, want)
		}
	}
	// settle waits until m stands at all identifiers, each of which knows its predecessor.
	settle := func(m *member, identifiers int) {
		t.Helper()
		for range 200 {
			if out := string(attempt(t, "ring", "--addr", addr, "--wait", "20s")); !strings.Contains(out, "the ring is ideal") {
				t.Fatalf("not ideal: %s", out)
			}
			if len(m.ask(t, "status").Status.Ranges) == identifiers {
				return
			}
		}
		t.Fatalf("it does not stand at %d identifiers: %+v", identifiers, m.ask(t, "status").Status)
	}
	settle(a, 4)
	says(admin, "alone holds the ring", "drain")
	says(admin, "use a number from 0 to 1024", "weight", "1025")
	says(admin, "use a number from 0 to 1024", "weight", "-1")
	says(admin, "use one number from 0 to 1024", "weight")
	says(admin, "unknown flag: --bogus", "weight", "--bogus")
	if st := a.ask(t, "status").Status; st.Weight != 4 || len(st.Ranges) != 4 {
		t.Errorf("after what was refused: weight %d, %d ranges", st.Weight, len(st.Ranges))
	}

	b, ready := runMember(t, "--name", "b", "--admin", ":0", "--join", addr, "--virtual-nodes", "4", "--weight", "3")
	second := fieldOf(t, ready, "admin")
	settle(b, 3)
	if st := b.ask(t, "status").Status; st.Weight != 3 || len(st.Ranges) != 3 {
		t.Errorf("with --weight 3: weight %d, %d ranges", st.Weight, len(st.Ranges))
	}
	says(second, "drained after", "drain")
	says(second, "drained", "status")
	if st := b.ask(t, "status").Status; st.Weight != 0 || len(st.Ranges) != 0 || st.Phase != "drained" {
		t.Errorf("it has drained: %+v", st)
	}
	if got := b.ask(t, "lookup pear"); got.Error != "" || got.Server.Name != "a" {
		t.Errorf("a lookup of the drained member: %+v", got)
	}
	says(admin, "alone holds the ring", "drain")
	var took struct{ Weight int }
	if err := json.Unmarshal(attempt(t, "weight", "5", "--json", "--admin", second), &took); err != nil || took.Weight != 5 {
		t.Errorf("%+v, %v", took, err)
	}
	settle(b, 5)
	if st := b.ask(t, "status").Status; st.Weight != 5 || len(st.Ranges) != 5 || st.Phase != "joined" {
		t.Errorf("it is back: %+v", st)
	}
}
