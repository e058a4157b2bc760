package mutant

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Planted is the variable of the environment that tells a program of several mutants which
// of them it is, by number: 0, and without the variable, none.
const Planted = "CONCORD_MUTANT"

// choice is the file that reads it in each package that has mutants.
const choice = `package %s

import (
	"os"
	"strconv"
)

var plantedMutant, _ = strconv.Atoi(os.Getenv("` + Planted + `"))
`

// Together writes files in which all of the mutants are, of a module at root, to dir, and
// returns the file to be given to go build -overlay, with the numbers of the mutants by
// name. A function has the bodies of its mutants before its own, each behind the question
// whether it is the one planted. Mutants that change more than bodies have no number.
func Together(root, dir string, mutants []Mutant) (string, map[string]int, error) {
	sources, numbers := map[string]*source{}, map[string]int{}
	for i, m := range mutants {
		patched, err := m.patch(root)
		if err != nil {
			return "", nil, err
		}
		bodies := map[string]*source{}
		for file, text := range patched {
			if sources[file] == nil {
				b, err := os.ReadFile(filepath.Join(root, file))
				if err != nil {
					return "", nil, err
				}
				if sources[file], err = parse(string(b)); err != nil {
					return "", nil, fmt.Errorf("%s: %w", file, err)
				}
			}
			x, err := parse(text)
			if err != nil {
				return "", nil, fmt.Errorf("mutant %s: %w", m.Name, err)
			}
			if slices.Equal(x.between, sources[file].between) {
				bodies[file] = x
			}
		}
		if len(bodies) < len(patched) {
			continue
		}
		numbers[m.Name] = i + 1
		for file, x := range bodies {
			sources[file].plant(x, i+1)
		}
	}
	texts := map[string]string{}
	for file, s := range sources {
		texts[file] = s.text()
		texts[path.Join(path.Dir(file), "planted_mutant.go")] = fmt.Sprintf(choice, s.pkg)
	}
	overlay, err := overlay(root, dir, texts)
	return overlay, numbers, err
}

// source is a file of source, cut at the bodies of its functions.
type source struct {
	pkg     string
	bodies  []string // without their braces
	void    []bool   // whether the function returns nothing
	planted []string // what is put before each body
	between []string // with the braces; one more
}

func parse(text string) (*source, error) {
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, "", text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	s, at := &source{pkg: f.Name.Name}, 0
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Body == nil {
			continue
		}
		begin, end := files.Position(fn.Body.Lbrace).Offset+1, files.Position(fn.Body.Rbrace).Offset
		s.between, s.bodies = append(s.between, text[at:begin]), append(s.bodies, text[begin:end])
		s.void = append(s.void, fn.Type.Results == nil)
		at = end
	}
	s.between, s.planted = append(s.between, text[at:]), make([]string, len(s.bodies))
	return s, nil
}

// plant adds the bodies in which x differs.
func (s *source) plant(x *source, number int) {
	for i, body := range x.bodies {
		if body == s.bodies[i] {
			continue
		}
		if s.void[i] {
			body += "\nreturn\n"
		}
		s.planted[i] += fmt.Sprintf("\nif plantedMutant == %d {%s}\n", number, body)
	}
}

func (s *source) text() string {
	var b strings.Builder
	for i, body := range s.bodies {
		b.WriteString(s.between[i] + s.planted[i] + body)
	}
	return b.String() + s.between[len(s.bodies)]
}
