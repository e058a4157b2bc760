package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"regexp"
	"slices"
	"testing"
)

// deciding are names of constants that decide about the ring.
var deciding = regexp.MustCompile(`(?i)time-?out|delay|finger|lease|suspicion|patience|backoff|retr(y|ies)|attempt|pause|lag$`)

// timing are the packages that carry decisions out and make none, and the durations
// that they may declare all the same, each with what it is about instead of the ring.
var timing = map[string]map[string]string{
	"./internal/node": {
		"maxLead":         "what is believed of clocks: virtual time has none that are wrong by a day",
		"refusalsLogged":  "the log",
		"failurePause":    "the log",
		"failurePace":     "the log",
		"joinReportEvery": "the log",
		"inspectEvery":    "certificates",
		"rememberSoon":    "the file of the state directory",
		"rememberLate":    "the file of the state directory",
		"callGrace":       "functions of the application that do not return",
		"walkAttempts":    "how often somebody who looks at a ring asks a member, which changes nothing in it",
	},
	"./internal/sim": {
		"joinLimit":  "what the program of a member gives to Join",
		"joinAgain":  "how long the operator of a member takes to start it again",
		"foundAfter": "what the program of a member gives to JoinOrCreate",
	},
}

const timingReason = "the simulator must run with the times that ship: a time-out, a delay or a number of fingers that is " +
	"declared where it is carried out is declared twice, and one of the two changes"

// constants lists the constants and variables of a file's top level that are durations,
// by a unit of package time, or whose names say that they decide about the ring.
func constants(file *ast.File) map[string]token.Pos {
	found := map[string]token.Pos{}
	for _, d := range file.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok || decl.Tok != token.CONST && decl.Tok != token.VAR {
			continue
		}
		for _, s := range decl.Specs {
			spec := s.(*ast.ValueSpec)
			for i, name := range spec.Names {
				if i >= len(spec.Values) {
					continue // of an enumeration, or a zero variable
				}
				if ofTime(spec.Values[i]) || decl.Tok == token.CONST && deciding.MatchString(name.Name) && isNumber(spec.Values[i]) {
					found[name.Name] = name.Pos()
				}
			}
		}
	}
	return found
}

// ofTime reports whether an expression is a number of units of package time. What is made
// of the constants of other packages is theirs.
func ofTime(e ast.Expr) bool {
	units := []string{"Nanosecond", "Microsecond", "Millisecond", "Second", "Minute", "Hour"}
	found := false
	ast.Inspect(e, func(n ast.Node) bool {
		if _, ok := n.(*ast.FuncLit); ok {
			return false
		}
		if sel, ok := n.(*ast.SelectorExpr); ok {
			id, ok := sel.X.(*ast.Ident)
			found = found || ok && id.Name == "time" && slices.Contains(units, sel.Sel.Name)
		}
		return true
	})
	return found
}

// isNumber reports whether an expression is a literal number, or made of such, and does
// not count an enumeration.
func isNumber(e ast.Expr) bool {
	literal := false
	ast.Inspect(e, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit:
			literal = literal || n.Kind == token.INT || n.Kind == token.FLOAT
		case *ast.Ident:
			if n.Name == "iota" {
				literal = false
				return false
			}
		}
		return true
	})
	return literal
}

func TestTimesOfTheRingAreDeclaredWhereItIsDecided(t *testing.T) {
	fset := token.NewFileSet()
	unused := map[string]map[string]string{}
	for pkg, allowed := range timing {
		unused[pkg] = maps.Clone(allowed)
	}
	for _, src := range sources(t, false) {
		allowed, ok := timing[src.pkg]
		if !ok {
			continue
		}
		file, err := parser.ParseFile(fset, src.path, src.text, parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
			continue
		}
		for name, pos := range constants(file) {
			if allowed[name] == "" {
				t.Errorf("%s: %s\n\tbecause %s", fset.Position(pos), name, timingReason)
			}
			delete(unused[src.pkg], name)
		}
	}
	for pkg, names := range unused {
		for name := range names {
			t.Errorf("%s declares no %s any more: strike it from the list", pkg, name)
		}
	}
}

func TestTimesOfTheRingAreRecognized(t *testing.T) {
	for text, want := range map[string]bool{
		"const limit = 3 * time.Second":                                            true,
		"const (\n\ta = 1\n\tb time.Duration = time.Minute/2)":                     true,
		"var every = 250 * time.Millisecond":                                       true,
		"const maxFingers = 128":                                                   true,
		"const askTimeout = 3":                                                     true,
		"const joinDelayMin = 20":                                                  true,
		"const (\n\tevTick = iota + 1\n\tevTimeout\n)":                             false,
		"const twice = 2 * routing.MaxLease":                                       false,
		"const maxRecords = 1024":                                                  false,
		"var kinds = map[string]func(){\"a\": func() { time.Sleep(time.Second) }}": false,
		"func f() { const local = time.Second }":                                   false,
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "x.go", fmt.Sprintf("package x\n%s\n", text), 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(constants(file)) > 0; got != want {
			t.Errorf("%q: found is %t", text, got)
		}
	}
}
