package metrics_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/ollelogdahl/concord/internal/metrics"
)

//go:generate go test -run TestPageHasTheListOfMetrics -update

var update = flag.Bool("update", false, "write the table into docs/METRICS.md")

// page is where the table is, between two comments.
const (
	page  = "../../docs/METRICS.md"
	begin = "<!-- table: go generate ./internal/metrics -->\n"
	end   = "<!-- end of table -->\n"
)

// table is the list of metrics for people.
func table() string {
	var b strings.Builder
	b.WriteString("| metric | type | labels | of | meaning |\n|---|---|---|---|---|\n")
	for _, m := range metrics.All {
		var labels []string
		for _, l := range m.Labels {
			labels = append(labels, fmt.Sprintf("`%s`: %s", l.Name, strings.Join(l.Values, ", ")))
		}
		if len(labels) == 0 {
			labels = []string{"none"}
		}
		of := "members"
		if m.Client {
			of = "members, clients"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", m.Name(), m.Kind, strings.Join(labels, "; "), of, m.Help)
	}
	return b.String()
}

func TestPageHasTheListOfMetrics(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	got, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", page)
	}
	if got == table() {
		return
	}
	if !*update {
		t.Fatalf("the table of %s is not that of the code: go generate ./internal/metrics", page)
	}
	if err := os.WriteFile(page, []byte(before+begin+table()+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestEveryMetricIsNamedByTheConventions(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range metrics.All {
		name := m.Name()
		if seen[name] || strings.ToLower(name) != name || strings.Contains(name, "__") || m.Help == "" || !strings.HasSuffix(m.Help, ".") {
			t.Errorf("%s: %q", name, m.Help)
		}
		seen[name] = true
		if (m.Kind == metrics.Histogram) != (len(m.Buckets) > 0) || len(m.Labels) > 2 || m.Kind == metrics.Histogram && len(m.Labels) > 1 {
			t.Errorf("%s: %d buckets, %d labels", name, len(m.Buckets), len(m.Labels))
		}
		series := 1
		for _, l := range m.Labels {
			series *= len(l.Values)
		}
		if series > 150 {
			t.Errorf("%s may have %d series", name, series)
		}
	}
}
