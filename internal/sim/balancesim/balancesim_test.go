package balancesim

import (
	"reflect"
	"strings"
	"testing"
)

func run(t *testing.T, c Config) *Result {
	t.Helper()
	r, err := Run(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The same rings tell a rule that balances from one that does not: members at the hashes of
// their names.
func TestMembersThatChooseHaveEvenShares(t *testing.T) {
	r := run(t, Config{From: 3, To: 64, Weight: 16, Seeds: 8})
	if r.MaxMeanP99 > 1.15 || r.ReplacedP99 > 1.15 || r.MovedJoinMax > 1.1 {
		t.Errorf("chosen: %+v", r.Figures)
	}
	if p := r.Plain; p.MaxMeanP50 < 1.3 || p.MaxMeanP99 < 1.5 || p.ReplacedP99 < 1.5 || p.MovedJoinMax < 1.3 || p.Rechosen > 0 {
		t.Errorf("plain: %+v", p)
	}
	if r.Rechosen == 0 || r.Rechosen > 2 || r.MovedRechosen == 0 || r.MovedRechosen > 0.15 {
		t.Errorf("%.2f identifiers chosen anew for each change, which moved %.3f", r.Rechosen, r.MovedRechosen)
	}
	var sizes []int
	for _, s := range r.Sizes {
		sizes = append(sizes, s.Members)
		if s.P99 > s.Plain50 {
			t.Errorf("%+v", s)
		}
	}
	if !reflect.DeepEqual(sizes, []int{3, 4, 8, 16, 32, 64}) {
		t.Errorf("sizes %v", sizes)
	}
}

func TestWeightsGiveShares(t *testing.T) {
	r := run(t, Config{From: 6, To: 48, Weight: 8, Weights: []int{1, 2, 4}, Seeds: 4})
	if r.ClassP99 == 0 || r.ClassP99 > 0.1 {
		t.Errorf("the members of one weight are off by %.3f", r.ClassP99)
	}
}

func TestOneIdentifierIsTheHashOfTheName(t *testing.T) {
	r := run(t, Config{From: 8, To: 16, Weight: 1, Seeds: 4})
	if r.Figures != r.Plain || r.MaxMeanP50 < 2 {
		t.Errorf("%+v", r)
	}
}

func TestSeedsAreRepeatable(t *testing.T) {
	c := Config{From: 3, To: 20, Weight: 4, Seed: 7, Seeds: 5}
	a, b := run(t, c), run(t, c)
	if a.Seconds, b.Seconds = 0, 0; !reflect.DeepEqual(a, b) {
		t.Errorf("%+v and %+v", a, b)
	}
	c.Seed = 8
	if b = run(t, c); a.Figures == b.Figures {
		t.Error("another seed gives the same")
	}
}

func TestNamesAreThoseOfEverydayAndDiffer(t *testing.T) {
	seen := map[string]bool{}
	for seed, form := range []string{"node-", "pod-", "host-", "", "node-", "pod-", "host-", ""} {
		name := namer(uint64(seed))
		for i := range 2000 {
			if n := name(i); seen[n] || !strings.HasPrefix(n, form) || form == "" && len(n) != 36 {
				t.Fatalf("set %d: name %q", seed, n)
			} else {
				seen[n] = true
			}
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	for want, c := range map[string]Config{
		"1..5 members":            {From: 1, To: 5, Weight: 1, Seeds: 1},
		"9..5 members":            {From: 9, To: 5, Weight: 1, Seeds: 1},
		"3..5000 members":         {From: 3, To: 5000, Weight: 1, Seeds: 1},
		"0 seeds":                 {From: 3, To: 5, Weight: 1},
		"0 identifiers":           {From: 3, To: 5, Seeds: 1},
		"512 identifiers times 4": {From: 3, To: 5, Weight: 512, Weights: []int{1, 4}, Seeds: 1},
	} {
		if _, err := Run(c, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v is not refused with %q", err, want)
		}
	}
}
