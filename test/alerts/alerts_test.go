package alerts

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/template"
	"go.yaml.in/yaml/v3"
)

// rules are where the alerts and their tests are.
const rules = "../../deploy/prometheus"

var promQL = parser.NewParser(parser.Options{})

// alerts reads the rules as Prometheus does.
func alerts(t *testing.T) []rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.ParseFile(filepath.Join(rules, "alerts.yml"), false, model.UTF8Validation, promQL, nil)
	for _, err := range errs {
		t.Error(err)
	}
	if groups == nil || len(groups.Groups) == 0 {
		t.Fatal("no alerts")
	}
	var out []rulefmt.Rule
	for _, g := range groups.Groups {
		out = append(out, g.Rules...)
	}
	return out
}

// file is a file of tests in the format of "promtool test rules", as far as it is
// used here: what is not used is an error.
type file struct {
	RuleFiles          []string       `yaml:"rule_files"`
	EvaluationInterval model.Duration `yaml:"evaluation_interval"`
	Tests              []group        `yaml:"tests"`
}

type group struct {
	Name        string         `yaml:"name"`
	Interval    model.Duration `yaml:"interval"`
	InputSeries []struct {
		Series string `yaml:"series"`
		Values string `yaml:"values"`
	} `yaml:"input_series"`
	Tests []expectation `yaml:"alert_rule_test"`
}

type expectation struct {
	EvalTime  model.Duration `yaml:"eval_time"`
	AlertName string         `yaml:"alertname"`
	Alerts    []fired        `yaml:"exp_alerts"`
}

// fired is an alert that is firing.
type fired struct {
	Labels      map[string]string `yaml:"exp_labels"`
	Annotations map[string]string `yaml:"exp_annotations"`
}

func tests(t *testing.T) file {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(rules, "alerts_test.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var f file
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&f); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(f.RuleFiles, []string{"alerts.yml"}) || f.EvaluationInterval <= 0 || len(f.Tests) == 0 {
		t.Fatalf("a file of tests of another kind: %+v", f)
	}
	return f
}

func TestAlertsFireWhenTheyShould(t *testing.T) {
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute, Parser: promQL})
	defer engine.Close()
	f := tests(t)
	list := alerts(t)
	fires, rests := map[string]bool{}, map[string]bool{}
	for _, g := range f.Tests {
		t.Run(g.Name, func(t *testing.T) {
			var data series
			for _, in := range g.InputSeries {
				name, values, err := promQL.ParseSeriesDesc(in.Series + " " + in.Values)
				if err != nil {
					t.Fatalf("%s: %v", in.Series, err)
				}
				data.add(name, values, time.Duration(g.Interval))
			}
			for _, want := range g.Tests {
				i := slices.IndexFunc(list, func(r rulefmt.Rule) bool { return r.Alert == want.AlertName })
				if i < 0 {
					t.Fatalf("no alert %s", want.AlertName)
				}
				got := firing(t, engine, data, list[i], time.Duration(want.EvalTime), time.Duration(f.EvaluationInterval))
				if !slices.EqualFunc(got, want.Alerts, func(a, b fired) bool {
					return maps.Equal(a.Labels, b.Labels) && maps.Equal(a.Annotations, b.Annotations)
				}) {
					t.Errorf("%s at %v:\n%+v, want\n%+v", want.AlertName, want.EvalTime, got, want.Alerts)
				}
				if len(want.Alerts) > 0 {
					fires[want.AlertName] = true
				} else {
					rests[want.AlertName] = true
				}
			}
		})
	}
	for _, r := range list {
		if !fires[r.Alert] || !rests[r.Alert] {
			t.Errorf("%s: tested that it fires: %v, that it does not: %v", r.Alert, fires[r.Alert], rests[r.Alert])
		}
	}
}

// firing evaluates a rule every interval until at, and returns the alerts that are
// firing then.
func firing(t *testing.T, engine *promql.Engine, data series, rule rulefmt.Rule, at, interval time.Duration) []fired {
	t.Helper()
	since := map[uint64]time.Duration{} // by the labels of the result
	var out []fired
	for now := time.Duration(0); now <= at; now += interval {
		query, err := engine.NewInstantQuery(t.Context(), data, nil, rule.Expr, time.UnixMilli(now.Milliseconds()))
		if err != nil {
			t.Fatalf("%s: %v", rule.Alert, err)
		}
		result, err := query.Exec(t.Context()).Vector()
		if err != nil {
			t.Fatalf("%s: %v", rule.Alert, err)
		}
		active := map[uint64]time.Duration{}
		out = nil
		for _, s := range result {
			id := s.Metric.Hash()
			active[id] = now
			if before, ok := since[id]; ok {
				active[id] = before
			}
			if now-active[id] >= time.Duration(rule.For) {
				out = append(out, alert(t, rule, s))
			}
		}
		since = active
		query.Close()
	}
	return out
}

// alert is what is sent of a firing alert, without its name.
func alert(t *testing.T, rule rulefmt.Rule, s promql.Sample) fired {
	t.Helper()
	out := fired{Labels: map[string]string{}, Annotations: map[string]string{}}
	s.Metric.Range(func(l labels.Label) {
		if l.Name != model.MetricNameLabel {
			out.Labels[l.Name] = l.Value
		}
	})
	data := template.AlertTemplateData(maps.Clone(out.Labels), nil, "", s)
	expand := func(text string) string {
		text = "{{$labels := .Labels}}{{$value := .Value}}" + text
		got, err := template.NewTemplateExpander(context.Background(), text, rule.Alert, data, model.Time(0), nil, nil, nil).Expand()
		if err != nil {
			t.Errorf("%s: %v", rule.Alert, err)
		}
		return got
	}
	for k, v := range rule.Annotations {
		out.Annotations[k] = expand(v)
	}
	for k, v := range rule.Labels {
		out.Labels[k] = expand(v)
	}
	return out
}

func TestEveryAlertSaysWhatToDo(t *testing.T) {
	page, err := os.ReadFile("../../docs/METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	operations, err := os.ReadFile("../../docs/OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range alerts(t) {
		row := fmt.Sprintf("| [%s](METRICS.md#%s) | %s | ", r.Alert, strings.ToLower(r.Alert), r.Labels["severity"])
		if !bytes.Contains(operations, []byte(row)) {
			t.Errorf("docs/OPERATIONS.md has no %q", row)
		}
		if s := r.Labels["severity"]; s != "critical" && s != "warning" && s != "info" {
			t.Errorf("%s: severity %q", r.Alert, s)
		}
		row = fmt.Sprintf("### %s\n\n%s, ", r.Alert, r.Labels["severity"])
		if !bytes.Contains(page, []byte(row)) {
			t.Errorf("docs/METRICS.md has no %q", row)
		}
		if n := bytes.Count(page, []byte("### "+r.Alert+"\n")); n != 1 {
			t.Errorf("docs/METRICS.md speaks %d times of %s", n, r.Alert)
		}
	}
	if n, want := bytes.Count(page, []byte("\n### Concord")), len(alerts(t)); n != want {
		t.Errorf("docs/METRICS.md speaks of %d alerts, there are %d", n, want)
	}
}
