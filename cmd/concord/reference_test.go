//go:build unix

package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func TestReferenceIsFresh(t *testing.T) {
	var out bytes.Buffer
	root := newRoot()
	root.SetArgs([]string{"reference"})
	root.SetOut(&out)
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/CLI.md")
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(page) {
		t.Error(`docs/CLI.md is not what the command says of itself: run "make generate"`)
	}
	for _, cmd := range root.Commands() {
		if heading := "## " + cmd.CommandPath() + "\n"; !cmd.Hidden && cmd.Name() != "help" && !strings.Contains(out.String(), heading) {
			t.Errorf("nothing about %s", cmd.CommandPath())
		}
	}
}
