package attack

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// inTable is the test that a row of the table names last.
var inTable = regexp.MustCompile("(?m)^\\|.*\\| `(Test[A-Za-z0-9]+)` \\|$")

// The table of attacks in docs/SECURITY.md names every test here, and no other.
func TestTableNamesEveryAttack(t *testing.T) {
	text, err := os.ReadFile("../../docs/SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]int{}
	for _, row := range inTable.FindAllStringSubmatch(string(text), -1) {
		rows[row[1]]++
	}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(f.Name.Name, "Test") || f.Name.Name == "TestMain" || f.Name.Name == t.Name() {
				continue
			}
			if rows[f.Name.Name] != 1 {
				t.Errorf("%s has %d rows in docs/SECURITY.md", f.Name.Name, rows[f.Name.Name])
			}
			delete(rows, f.Name.Name)
		}
	}
	for name := range rows {
		t.Errorf("docs/SECURITY.md names %s, which does not exist", name)
	}
}
