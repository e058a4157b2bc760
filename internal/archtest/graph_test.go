package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/ollelogdahl/concord"

// pkg is one node of the import graph, without its tests.
type pkg struct {
	imports []string // names as in a rule, sorted
	std     bool
}

// graph maps names to packages. Our own are named as in a rule.
type graph map[string]pkg

// loadGraph asks the go command for the packages of this module and for all
// that they reach. It gives the names of ours, too.
func loadGraph(t *testing.T) (g graph, ours []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Imports,Standard,DepOnly,Error", "./...")
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	g = make(graph)
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath        string
			Imports           []string
			Standard, DepOnly bool
		}
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		name := nameOf(p.ImportPath)
		n := pkg{std: p.Standard}
		for _, path := range p.Imports {
			n.imports = append(n.imports, nameOf(path))
		}
		slices.Sort(n.imports)
		g[name] = n
		if !p.DepOnly {
			ours = append(ours, name)
		}
	}
	slices.Sort(ours)
	return g, ours
}

// nameOf gives the name that rules have for an import path.
func nameOf(path string) string {
	if path == module {
		return "."
	}
	if rest, ok := strings.CutPrefix(path, module+"/"); ok {
		return "./" + rest
	}
	return path
}

// violations lists what in g breaks r, as the chain of imports that does. What a
// forbidden package reaches in turn is not listed.
func (r rule) violations(g graph, ours []string) []string {
	var found []string
	for _, name := range ours {
		if !matchAny(r.packages, name) || matchAny(r.except, name) {
			continue
		}
		var forbidden []string
		for _, chain := range g.reach(name, r.through) {
			target := chain[len(chain)-1]
			if slices.ContainsFunc(chain, func(p string) bool { return slices.Contains(forbidden, p) }) {
				continue
			}
			direct := len(chain) == 2
			std := g[target].std
			switch {
			case std && !direct:
			case matchAny(r.never, target) && !matchAny(r.unless, target),
				r.only != nil && !std && !matchAny(r.only, target):
				forbidden = append(forbidden, target)
				found = append(found, strings.Join(chain, " -> "))
			}
		}
	}
	return found
}

// reach gives a shortest chain of imports from name to each package that it
// imports, or with through to each that it reaches. It does not look into the
// standard library.
func (g graph) reach(name string, through bool) [][]string {
	var chains [][]string
	seen := map[string]bool{name: true}
	queue := [][]string{{name}}
	for len(queue) > 0 {
		chain := queue[0]
		queue = queue[1:]
		last := chain[len(chain)-1]
		if g[last].std || (!through && len(chain) > 1) {
			continue
		}
		for _, next := range g[last].imports {
			if seen[next] {
				continue
			}
			seen[next] = true
			longer := append(slices.Clone(chain), next)
			chains = append(chains, longer)
			queue = append(queue, longer)
		}
	}
	return chains
}

func matchAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return match(p, name) })
}

// match reports whether a pattern of a rule names the package.
func match(pattern, name string) bool {
	if prefix, suffix, ok := strings.Cut(pattern, "/.../*"); ok {
		return strings.HasPrefix(name, prefix+"/") && strings.HasSuffix(name, suffix)
	}
	prefix, below := strings.CutSuffix(pattern, "/...")
	if !below {
		return pattern == name
	}
	if before, after, ok := strings.Cut(prefix, "/.../"); ok {
		i := strings.Index(name, "/"+after)
		return i >= 0 && strings.HasPrefix(name, before+"/") &&
			(strings.HasSuffix(name, "/"+after) || strings.Contains(name[i:], "/"+after+"/"))
	}
	return name == prefix || strings.HasPrefix(name, prefix+"/")
}

// complain words what a rule has to say about its violations.
func complain(r rule, found []string) string {
	var b strings.Builder
	for _, chain := range found {
		fmt.Fprintf(&b, "forbidden import: %s\n", chain)
	}
	fmt.Fprintf(&b, "\tbecause %s", r.reason)
	return b.String()
}
