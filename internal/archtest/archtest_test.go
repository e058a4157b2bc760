package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// root is the root of the module, from here.
const root = "../.."

func TestImportsFollowTheRules(t *testing.T) {
	// The go command caches a passed test until a file changes that the test
	// itself has read. It reads them all: what go list reads does not count.
	sources(t, false)
	g, ours := loadGraph(t)
	for _, name := range []string{
		".", "./internal/ring", "./internal/protocol", "./internal/routing", "./internal/node",
		"./internal/transport", "./internal/transport/memory", "./internal/transport/grpc", "./internal/pb",
	} {
		if !slices.Contains(ours, name) {
			t.Errorf("no package %s: if it has moved, its rules must follow", name)
		}
	}
	for _, r := range rules {
		if found := r.violations(g, ours); len(found) > 0 {
			t.Error(complain(r, found))
		}
	}
}

func TestSourceFollowsTheRules(t *testing.T) {
	fset := token.NewFileSet()
	for _, src := range sources(t, false) {
		file, err := parser.ParseFile(fset, src.path, src.text, parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, h := range habits {
			if !matchAny(h.packages, src.pkg) || matchAny(h.except, src.pkg) {
				continue
			}
			for _, v := range h.violations(fset, file) {
				t.Errorf("%s\n\tbecause %s", v, h.reason)
			}
		}
	}
}

func TestTestsDoNotSleep(t *testing.T) {
	fset := token.NewFileSet()
	for _, src := range sources(t, true) {
		file, err := parser.ParseFile(fset, src.path, src.text, parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
			continue
		}
		if slices.ContainsFunc(file.Imports, func(s *ast.ImportSpec) bool { return s.Path.Value == `"testing/synctest"` }) {
			continue
		}
		for _, v := range asleep.violations(fset, file) {
			t.Errorf("%s\n\tbecause %s", v, asleep.reason)
		}
	}
}

// public are the packages whose documentation users read.
var public = []string{".", "./concordgrpc", "./concordprom", "./concordotel", "./concordtest"}

func TestExportedFieldsAreExplained(t *testing.T) {
	fset := token.NewFileSet()
	fields := 0
	for _, src := range sources(t, false) {
		if !matchAny(public, src.pkg) {
			continue
		}
		file, err := parser.ParseFile(fset, src.path, src.text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
			continue
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || !spec.Name.IsExported() {
				return true
			}
			of, ok := spec.Type.(*ast.StructType)
			if !ok {
				return true
			}
			for _, f := range of.Fields.List {
				for _, name := range f.Names {
					if !name.IsExported() {
						continue
					}
					fields++
					if f.Doc == nil && f.Comment == nil {
						t.Errorf("%s: %s.%s has no comment: what does it mean, and its zero value?", fset.Position(name.Pos()), spec.Name, name)
					}
				}
			}
			return true
		})
	}
	if fields < 50 {
		t.Errorf("only %d fields found: have the packages moved?", fields)
	}
}

// widest is how many columns a line with a comment may have in the packages that users read.
const widest = 100

func TestPublicCommentsFitTheScreen(t *testing.T) {
	lines := 0
	for _, src := range append(sources(t, false), sources(t, true)...) {
		if !matchAny(public, src.pkg) {
			continue
		}
		n, wide := wideComments(t, src)
		lines += n
		for _, at := range wide {
			t.Errorf("%s: a line with a comment ends after column %d, where most editors end", at, widest)
		}
	}
	if lines < 500 {
		t.Errorf("only %d lines of comments found: have the packages moved?", lines)
	}
}

// wideComments counts the lines of comments in a file, and says which end too far to the right. A tab
// is four columns wide.
func wideComments(t *testing.T, src source) (lines int, wide []string) {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, src.path, src.text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Split(string(src.text), "\n")
	for _, group := range file.Comments {
		for i := fset.Position(group.Pos()).Line; i <= fset.Position(group.End()).Line; i++ {
			lines++
			if utf8.RuneCountInString(strings.ReplaceAll(text[i-1], "\t", "    ")) > widest {
				wide = append(wide, fmt.Sprintf("%s:%d", src.path, i))
			}
		}
	}
	return lines, wide
}

func TestPublicDocumentationBeginsWithTheName(t *testing.T) {
	names := 0
	for _, src := range sources(t, false) {
		if !matchAny(public, src.pkg) {
			continue
		}
		n, wrong := undocumented(t, src)
		names += n
		for _, w := range wrong {
			t.Error(w)
		}
	}
	if names < 150 {
		t.Errorf("only %d exported names found: have the packages moved?", names)
	}
}

// undocumented counts the exported names of a file but for fields, and says which of them have no
// comment that begins with the name.
func undocumented(t *testing.T, src source) (names int, wrong []string) {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, src.path, src.text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	check := func(name *ast.Ident, doc *ast.CommentGroup) {
		if !name.IsExported() {
			return
		}
		names++
		if first, _, _ := strings.Cut(strings.Join(strings.Fields(doc.Text()), " "), " "); first != name.Name {
			wrong = append(wrong, fmt.Sprintf("%s: the comment of %s begins with %q, not with the name", fset.Position(name.Pos()), name, first))
		}
	}
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil || ast.IsExported(receiver(d)) {
				check(d.Name, d.Doc)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					check(s.Name, either(s.Doc, d))
				case *ast.ValueSpec:
					for _, name := range s.Names {
						check(name, either(s.Doc, d))
					}
				}
			}
		}
	}
	return names, wrong
}

// either is the comment of a specification, or that of the declaration if it has no parentheses.
func either(own *ast.CommentGroup, d *ast.GenDecl) *ast.CommentGroup {
	if own == nil && !d.Lparen.IsValid() {
		return d.Doc
	}
	return own
}

// receiver is the name of the type that a method is of.
func receiver(d *ast.FuncDecl) string {
	of := d.Recv.List[0].Type
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	name, _ := of.(*ast.Ident)
	if name == nil {
		return ""
	}
	return name.Name
}

// A checker of comments that finds nothing would not be noticed.
func TestCommentsAreChecked(t *testing.T) {
	long := strings.Repeat("x", widest)
	src := source{path: "x.go", text: []byte("package x\n\n// " + long + "\nvar a = 1 // short\n\n" +
		"// Good is fine.\ntype Good struct{}\n\n// It is not.\nfunc (*Good) Bad() {}\n\nfunc None() {}\n\n" +
		"// Group is for both.\nconst (\n\tGroup = 1\n\t// Own is fine.\n\tOwn = 2\n)\n\nfunc hidden() {}\n")}
	if lines, wide := wideComments(t, src); lines < 6 || !slices.Equal(wide, []string{"x.go:3"}) {
		t.Errorf("%d lines, wide %v", lines, wide)
	}
	names, wrong := undocumented(t, src)
	if names != 5 || len(wrong) != 3 {
		t.Errorf("%d names, wrong %q", names, wrong)
	}
	for i, want := range []string{"Bad", "None", "Group"} {
		if i < len(wrong) && !strings.Contains(wrong[i], "comment of "+want) {
			t.Errorf("%q, want %s", wrong[i], want)
		}
	}
}

type source struct {
	pkg, path string
	text      []byte
}

// sources reads the source files of the module, or those of its tests, without
// generated code and nested modules.
func sources(t *testing.T, tests bool) []source {
	t.Helper()
	var list []source
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if p == root {
				return nil
			}
			name := d.Name()
			if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" {
				return fs.SkipDir
			}
			if _, err := os.Stat(filepath.Join(p, "go.mod")); err == nil {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") != tests {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(p))
		if err != nil {
			return err
		}
		pkg := "."
		if dir != "." {
			pkg = "./" + filepath.ToSlash(dir)
		}
		if pkg != "./internal/pb" {
			list = append(list, source{pkg, p, text})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) == 0 {
		t.Fatal("no source files found")
	}
	return list
}

func TestRulesFindViolations(t *testing.T) {
	g := graph{
		".":                {imports: []string{"./internal/node", "log/slog"}},
		"./internal/ring":  {imports: []string{"fmt"}},
		"./internal/low":   {imports: []string{"./internal/ring", "sync"}},
		"./internal/node":  {imports: []string{"./internal/low", "./internal/wire"}},
		"./internal/wire":  {imports: []string{"google.golang.org/grpc"}},
		"./internal/xtest": {imports: []string{"testing"}},
		"./cmd/concord":    {imports: []string{".", "github.com/spf13/cobra"}},

		"google.golang.org/grpc": {imports: []string{"testing"}},
		"github.com/spf13/cobra": {},

		"fmt":      {std: true, imports: []string{"os", "sync"}},
		"log/slog": {std: true, imports: []string{"log"}},
		"os":       {std: true},
		"sync":     {std: true},
		"log":      {std: true},
		"testing":  {std: true},
	}
	ours := []string{
		".", "./cmd/concord", "./internal/low", "./internal/node", "./internal/ring", "./internal/wire", "./internal/xtest",
	}
	for _, tc := range []struct {
		name string
		rule rule
		want []string
	}{
		{
			name: "allowed imports",
			rule: rule{packages: []string{"./internal/low"}, only: []string{"./internal/ring"}, through: true},
		},
		{
			name: "an import outside of the list",
			rule: rule{packages: []string{"./internal/low"}, only: []string{}},
			want: []string{"./internal/low -> ./internal/ring"},
		},
		{
			name: "a list does not bind the standard library",
			rule: rule{packages: []string{"./internal/ring"}, only: []string{}, through: true},
		},
		{
			name: "a package of the standard library, imported directly",
			rule: rule{packages: []string{"./internal/..."}, never: []string{"sync"}},
			want: []string{"./internal/low -> sync"},
		},
		{
			name: "one reached through others does not count",
			rule: rule{packages: []string{"./internal/ring", "."}, never: []string{"sync", "os", "log", "testing"}, through: true},
		},
		{
			name: "a module reached through others, with the chain",
			rule: rule{packages: []string{"."}, never: []string{"google.golang.org/..."}, through: true},
			want: []string{". -> ./internal/node -> ./internal/wire -> google.golang.org/grpc"},
		},
		{
			name: "the same when only direct imports count",
			rule: rule{packages: []string{"."}, never: []string{"google.golang.org/..."}},
		},
		{
			name: "outside of the list, through others",
			rule: rule{
				packages: []string{"./internal/node"},
				only:     []string{"./internal/low", "./internal/ring", "./internal/wire"},
				through:  true,
			},
			want: []string{"./internal/node -> ./internal/wire -> google.golang.org/grpc"},
		},
		{
			name: "what a forbidden package reaches in turn is not listed",
			rule: rule{packages: []string{"./internal/node"}, only: []string{"./internal/low", "./internal/ring"}, through: true},
			want: []string{"./internal/node -> ./internal/wire"},
		},
		{
			name: "exceptions",
			rule: rule{packages: []string{"./..."}, except: []string{"./.../*test"}, never: []string{"testing"}},
		},
		{
			name: "and without them",
			rule: rule{packages: []string{"./..."}, never: []string{"testing"}},
			want: []string{"./internal/xtest -> testing"},
		},
		{
			name: "what is forbidden, unless it is among those allowed",
			rule: rule{packages: []string{"./internal/node"}, never: []string{"./internal/..."}, unless: []string{"./internal/low"}},
			want: []string{"./internal/node -> ./internal/wire"},
		},
		{
			name: "the root by name",
			rule: rule{packages: []string{"./cmd/..."}, never: []string{"."}},
			want: []string{"./cmd/concord -> ."},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.rule.reason = "of the test"
			got := tc.rule.violations(g, ours)
			if !slices.Equal(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if text := complain(tc.rule, got); !strings.Contains(text, "because of the test") {
				t.Errorf("%q does not say why", text)
			}
		})
	}
}

func TestPatternsMatch(t *testing.T) {
	for _, tc := range []struct {
		pattern, name string
		want          bool
	}{
		{".", ".", true},
		{".", "./internal/ring", false},
		{"./internal/ring", "./internal/ring", true},
		{"./internal/ring", "./internal/ringer", false},
		{"./internal/ring/...", "./internal/ringer", false},
		{"./internal/transport/...", "./internal/transport", true},
		{"./internal/transport/...", "./internal/transport/grpc", true},
		{"./...", "./cmd/concord", true},
		{"./...", ".", true},
		{"./...", "fmt", false},
		{"./.../*test", "./internal/transport/transporttest", true},
		{"./.../*test", "./internal/transport", false},
		{"./.../*test", "net/http/httptest", false},
		{"./internal/transport/.../*test", "./internal/archtest", false},
		{"./examples/.../internal/...", "./examples/kv/internal/store", true},
		{"./examples/.../internal/...", "./examples/kv/internal", true},
		{"./examples/.../internal/...", "./examples/internals", false},
		{"google.golang.org/...", "google.golang.org/grpc/codes", true},
	} {
		if got := match(tc.pattern, tc.name); got != tc.want {
			t.Errorf("match(%q, %q) = %v", tc.pattern, tc.name, got)
		}
	}
}

func TestHabitsFindViolations(t *testing.T) {
	machine, maps, printer, dot := habits[0], habits[1], habits[2], habits[3]
	for _, tc := range []struct {
		name  string
		habit habit
		src   string
		want  []string
	}{
		{"time as a value", machine, `import "time"; func f(now time.Duration) time.Duration { return now + time.Second }`, nil},
		{"the clock", machine, `import "time"; var t = time.Now()`, []string{"time.Now"}},
		{"the clock by another name", machine, `import clock "time"; var now = clock.Since`, []string{"time.Since"}},
		{"a method of that name", machine, `type c struct{}; func (c) Now() int; func f(x c) int { return x.Now() }`, nil},
		{"a generator of one's own", machine, `import "math/rand/v2"; type m struct{ r rand.PCG }; var g = rand.New(rand.NewPCG(1, 2))`, nil},
		{"the global one", machine, `import "math/rand/v2"; var n = rand.IntN(3)`, []string{"math/rand/v2.IntN"}},
		{"goroutines and channels", machine, `func f(c chan int) { go f(nil); c <- 1; <-c; select {} }`,
			[]string{"a channel type", "a go statement", "a send", "a receive", "a select"}},
		{"a map", maps, `var m map[int]int`, []string{"a map"}},
		{"printing", printer, `import "fmt"; func f() { fmt.Println(); println() }`, []string{"fmt.Println", "println"}},
		{"words without printing", printer, `import "fmt"; var s = fmt.Sprint(1)`, nil},
		{"exit", printer, `import "os"; func f() { os.Exit(1) }`, []string{"os.Exit"}},
		{"the global logger", printer, `import "log/slog"; func f() { slog.Info("x"); slog.New(nil).Info("x") }`, []string{"log/slog.Info"}},
		{"a dot import", dot, `import . "fmt"`, []string{"a dot import"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fset := token.NewFileSet()
			var file *ast.File
			file, err := parser.ParseFile(fset, "x.go", "package x; "+tc.src, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, v := range tc.habit.violations(fset, file) {
				_, what, _ := strings.Cut(v, ": ")
				got = append(got, what)
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
