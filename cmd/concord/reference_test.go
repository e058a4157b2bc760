//go:build unix

package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
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

// Whatever a command tells people, it tells programs, too.
func TestEveryCommandSpeaksJSON(t *testing.T) {
	var visit func(*cobra.Command)
	asked := 0
	visit = func(parent *cobra.Command) {
		for _, cmd := range parent.Commands() {
			if cmd.Hidden || cmd.Name() == "help" || cmd.Name() == "completion" {
				continue
			}
			visit(cmd)
			asked++
			if f := cmd.Flags().Lookup("json"); f == nil || f.DefValue != "false" {
				t.Errorf("%s has no --json", cmd.CommandPath())
			}
			if cmd.Example == "" && cmd.Name() != "demo" {
				t.Errorf("%s has no example", cmd.CommandPath())
			}
		}
	}
	visit(newRoot())
	if asked < 12 {
		t.Errorf("only %d commands", asked)
	}
}
