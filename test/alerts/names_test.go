package alerts

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
)

// documented are the series that there are, with their labels: those of the table in
// docs/METRICS.md, which is made of what the adapters have.
func documented(t *testing.T) map[string][]string {
	t.Helper()
	page, err := os.ReadFile("../../docs/METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	always := []string{"job", "instance"}
	label := regexp.MustCompile("`([a-z_]+)`:")
	for line := range strings.SplitSeq(string(page), "\n") {
		cells := strings.Split(line, " | ")
		name, ok := strings.CutPrefix(cells[0], "| `concord_")
		if !ok || len(cells) != 5 {
			continue
		}
		name = "concord_" + strings.TrimSuffix(name, "`")
		labels := slices.Clone(always)
		for _, l := range label.FindAllStringSubmatch(cells[2], -1) {
			labels = append(labels, l[1])
		}
		if cells[1] == "histogram" {
			out[name+"_bucket"] = append(labels, "le")
			out[name+"_sum"], out[name+"_count"] = labels, labels
		} else {
			out[name] = labels
		}
	}
	if len(out) < 20 {
		t.Fatalf("the table has %d series only", len(out))
	}
	out["up"] = always
	return out
}

// check reports what an expression names that there is not.
func check(t *testing.T, where, expr string, known map[string][]string) {
	t.Helper()
	parsed, err := promQL.ParseExpr(expr)
	if err != nil {
		t.Errorf("%s: %v", where, err)
		return
	}
	all := slices.Concat(slices.Collect(maps.Values(known))...)
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		var labels []string
		switch n := node.(type) {
		case *parser.VectorSelector:
			have, ok := known[n.Name]
			if !ok {
				t.Errorf("%s: no metric %q", where, n.Name)
			}
			for _, m := range n.LabelMatchers {
				if m.Name != "__name__" && !slices.Contains(have, m.Name) {
					t.Errorf("%s: %s has no label %s", where, n.Name, m.Name)
				}
			}
		case *parser.AggregateExpr:
			labels = n.Grouping
		case *parser.BinaryExpr:
			if n.VectorMatching != nil {
				labels = n.VectorMatching.MatchingLabels
			}
		}
		for _, l := range labels {
			if !slices.Contains(all, l) {
				t.Errorf("%s: no label %s", where, l)
			}
		}
		return nil
	})
}

func TestAlertsNameMetricsThatThereAre(t *testing.T) {
	known := documented(t)
	for _, r := range alerts(t) {
		check(t, r.Alert, r.Expr, known)
	}
}

// dashboard is what is checked of Grafana's format.
type dashboard struct {
	UID        string  `json:"uid"`
	Title      string  `json:"title"`
	Panels     []panel `json:"panels"`
	Templating struct {
		List []struct {
			Name  string `json:"name"`
			Type  string `json:"type"`
			Query any    `json:"query"`
		} `json:"list"`
	} `json:"templating"`
}

type panel struct {
	ID          int    `json:"id"`
	Type        string `json:"type"`
	Title       string `json:"title"`
	Description string `json:"description"`
	Datasource  *struct {
		UID string `json:"uid"`
	} `json:"datasource"`
	GridPos struct{ X, Y, W, H int } `json:"gridPos"`
	Targets []struct {
		Expr  string `json:"expr"`
		RefID string `json:"refId"`
	} `json:"targets"`
}

func TestDashboardNamesMetricsThatThereAre(t *testing.T) {
	text, err := os.ReadFile("../../deploy/grafana/concord.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	if d.UID == "" || d.Title == "" {
		t.Error("it has no name")
	}
	known := documented(t)
	variables := strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h", "$job", "ring", "$instance", ".*")
	used := map[string]bool{}
	ids := map[int]bool{}
	taken := map[[2]int]string{}
	for _, p := range d.Panels {
		if p.Title == "" || ids[p.ID] {
			t.Errorf("panel %d %q: no title, or a number that another has", p.ID, p.Title)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, ok := taken[[2]int{x, y}]; ok {
					t.Fatalf("panels %q and %q overlap", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.GridPos.X+p.GridPos.W > 24 || p.GridPos.H == 0 {
			t.Errorf("panel %q does not fit", p.Title)
		}
		if p.Type == "row" {
			continue
		}
		if p.Datasource == nil || p.Datasource.UID != "${datasource}" || p.Description == "" || len(p.Targets) == 0 {
			t.Errorf("panel %q: no data source, description or query", p.Title)
		}
		for _, q := range p.Targets {
			check(t, p.Title, variables.Replace(q.Expr), known)
			for name := range known {
				if strings.Contains(q.Expr, name) {
					used[name] = true
				}
			}
		}
	}
	for _, v := range d.Templating.List {
		if q, ok := v.Query.(map[string]any); ok {
			if text, _ := q["query"].(string); !strings.Contains(text, "concord_joined") {
				t.Errorf("variable %s: %q", v.Name, text)
			}
		}
	}
	// What is measured is to be seen.
	for name := range known {
		if !used[name] && !strings.HasSuffix(name, "_sum") && !strings.HasSuffix(name, "_count") {
			t.Errorf("%s is on no panel", name)
		}
	}
}
