package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strconv"
	"strings"
)

// A habit is something that source text shows and some packages must not have.
type habit struct {
	packages []string
	except   []string
	// uses: functions, types and variables by import path; "!" before the
	// names: all but these.
	uses map[string]string
	// syntax: what of the language itself.
	syntax func(ast.Node) (what string)
	reason string
}

var habits = []habit{
	{
		packages: []string{"./internal/protocol", "./internal/routing"},
		uses: map[string]string{
			"time":         "Now Since Until Sleep After AfterFunc Tick NewTimer NewTicker Local LoadLocation",
			"math/rand/v2": "!New NewPCG NewChaCha8 NewZipf Rand PCG ChaCha8 Zipf Source",
		},
		syntax: concurrency,
		reason: "the machine has no clock, global randomness, goroutine or channel: time and randomness are handed in, " +
			"and the order of things is the caller's",
	},
	{
		packages: []string{"./internal/protocol", "./internal/routing"},
		syntax:   mapType,
		reason: "the order of a map is chance, and the machine gives the same effects for the same events; " +
			"a slice is also smaller",
	},
	{
		packages: library,
		except:   testSupport,
		uses: map[string]string{
			"fmt":      "Print Printf Println Scan Scanf Scanln",
			"os":       "Exit Stdin Stdout Stderr Setenv Unsetenv Clearenv Chdir",
			"log/slog": "Debug DebugContext Info InfoContext Warn WarnContext Error ErrorContext Log LogAttrs Default SetDefault",
			"net/http": "DefaultClient DefaultServeMux DefaultTransport Get Head Post PostForm Handle HandleFunc",
		},
		syntax: printing,
		reason: "a library does not print, exit or touch global state on its user's behalf",
	},
	{
		packages: []string{"./..."},
		syntax:   dotImport,
		reason:   "what a dot import brings cannot be seen where it is used",
	},
	{
		packages: []string{"./internal/explore", "./internal/invariant", "./internal/mutant", "./internal/peer", "./internal/ring", "./internal/ringmap"},
		syntax:   concurrency,
		reason:   "their tests run without the race detector (SEQUENTIAL in the Makefile)",
	},
}

// asleep is what tests must not have outside of a synctest bubble, where time is
// virtual. The text of a test does not show what runs inside the bubble; that
// the file imports synctest has to do.
var asleep = habit{
	packages: []string{"./..."},
	uses:     map[string]string{"time": "Sleep"},
	reason: "a test that sleeps is slow on a fast machine and wrong on a slow one: wait for what must happen, " +
		"with a bound, or use testing/synctest",
}

func concurrency(n ast.Node) string {
	switch n := n.(type) {
	case *ast.GoStmt:
		return "a go statement"
	case *ast.ChanType:
		return "a channel type"
	case *ast.SendStmt:
		return "a send"
	case *ast.SelectStmt:
		return "a select"
	case *ast.UnaryExpr:
		if n.Op == token.ARROW {
			return "a receive"
		}
	}
	return ""
}

func mapType(n ast.Node) string {
	if _, ok := n.(*ast.MapType); ok {
		return "a map"
	}
	return ""
}

func printing(n ast.Node) string {
	if call, ok := n.(*ast.CallExpr); ok {
		if id, ok := call.Fun.(*ast.Ident); ok && (id.Name == "print" || id.Name == "println") {
			return id.Name
		}
	}
	return ""
}

func dotImport(n ast.Node) string {
	if spec, ok := n.(*ast.ImportSpec); ok && spec.Name != nil && spec.Name.Name == "." {
		return "a dot import"
	}
	return ""
}

// violations lists where in the file h shows.
func (h habit) violations(fset *token.FileSet, file *ast.File) []string {
	imports := make(map[string]string) // the name in this file -> import path
	for _, spec := range file.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		if spec.Name != nil {
			imports[spec.Name.Name] = p
		} else {
			imports[baseName(p)] = p
		}
	}
	var found []string
	ast.Inspect(file, func(n ast.Node) bool {
		if n == nil {
			return true
		}
		what := ""
		if h.syntax != nil {
			what = h.syntax(n)
		}
		if sel, ok := n.(*ast.SelectorExpr); ok {
			// A local variable with the name of an import would be taken for
			// the import; the linters forbid that anyway.
			if id, ok := sel.X.(*ast.Ident); ok {
				if p, ok := imports[id.Name]; ok && listed(h.uses[p], sel.Sel.Name) {
					what = p + "." + sel.Sel.Name
				}
			}
		}
		if what != "" {
			found = append(found, fmt.Sprintf("%s: %s", fset.Position(n.Pos()), what))
		}
		return true
	})
	return found
}

// listed reports whether name is in the list, or with "!" is not.
func listed(list, name string) bool {
	if list == "" {
		return false
	}
	rest, but := strings.CutPrefix(list, "!")
	return slices.Contains(strings.Fields(rest), name) != but
}

// baseName gives the name that a package of the standard library has in a file
// that imports it without naming it.
func baseName(p string) string {
	base := path.Base(p)
	if len(base) > 1 && base[0] == 'v' && strings.Trim(base[1:], "0123456789") == "" {
		return path.Base(path.Dir(p))
	}
	return base
}
