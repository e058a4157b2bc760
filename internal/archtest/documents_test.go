package archtest

import (
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// maxColumns is the length of the longest line of a document, outside of tables and code.
const maxColumns = 100

// generated begins and ends the parts of documents that a program writes.
var generated = [2]string{"<!-- Made by make bench from here on", "<!-- Made by make bench up to here"}

// codeSpan is code inside of a line. It is not broken.
var codeSpan = regexp.MustCompile("`[^`]*`")

// marker is what stands before the text of an item of a list.
var marker = regexp.MustCompile(`^ *([-*]|[0-9]+\.) `)

// documents are the paths of all documents, from the root of the module.
func documents(t *testing.T) []string {
	t.Helper()
	var paths []string
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			paths = append(paths, strings.TrimPrefix(filepath.ToSlash(path), root+"/"))
		}
	}
	if len(paths) < 10 {
		t.Fatalf("only %d documents: %q", len(paths), paths)
	}
	return paths
}

func readDocument(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// prose are the lines of a document by their numbers, without code.
func prose(text string) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		inCode := false
		for i, line := range strings.Split(text, "\n") {
			if strings.HasPrefix(strings.TrimSpace(line), "```") {
				inCode = !inCode
			} else if !inCode && !yield(i+1, line) {
				return
			}
		}
	}
}

// written are the lines of prose that no program has written.
func written(text string) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		byProgram := false
		for number, line := range prose(text) {
			switch {
			case strings.HasPrefix(line, generated[0]):
				byProgram = true
			case strings.HasPrefix(line, generated[1]):
				byProgram = false
			case !byProgram && !yield(number, line):
				return
			}
		}
	}
}

// tooLong reports whether a line of prose is too long though it could be broken.
func tooLong(line string) bool {
	if utf8.RuneCountInString(line) <= maxColumns || strings.HasPrefix(line, "|") {
		return false
	}
	text := codeSpan.ReplaceAllString(marker.ReplaceAllString(line, ""), "`")
	return strings.Contains(strings.TrimSpace(text), " ")
}

func TestLinesOfDocumentsAreNotTooLong(t *testing.T) {
	for _, path := range documents(t) {
		for number, line := range written(readDocument(t, path)) {
			if tooLong(line) {
				t.Errorf("%s:%d: %d columns, at most %d are allowed outside of tables and code",
					path, number, utf8.RuneCountInString(line), maxColumns)
			}
		}
	}
}

func TestLinesThatAreTooLong(t *testing.T) {
	word := strings.Repeat("x", maxColumns)
	for line, want := range map[string]bool{
		word:                            false,
		word + "x":                      false, // cannot be broken
		"a " + word:                     true,
		"- " + word:                     false,
		"12. " + word:                   false,
		"- a " + word:                   true,
		"`a " + word + "`":              false,
		"a `b " + word + "`":            true,
		"| a | " + word + " |":          false,
		strings.Repeat("é", maxColumns): false,
	} {
		if got := tooLong(line); got != want {
			t.Errorf("%q: got %v, want %v", line, got, want)
		}
	}
}

// unmerged is a line that git leaves where it could not merge two changes.
var unmerged = regexp.MustCompile(`(?m)^(<{7}|>{7}|\|{7}) .*$`)

// The compiler finds such lines in Go. Nothing else reads a document before its readers do.
func TestNoFileIsHalfMerged(t *testing.T) {
	read := 0
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := strings.HasPrefix(entry.Name(), ".") && path != root
		if entry.IsDir() {
			if hidden && entry.Name() != ".ci" && entry.Name() != ".github" {
				return filepath.SkipDir
			}
			return nil
		}
		info, err := entry.Info()
		if err != nil || !info.Mode().IsRegular() || info.Size() > 1<<20 {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		read++
		if line := unmerged.Find(text); line != nil {
			t.Errorf("%s has the line %q of an unfinished merge", path, line)
		}
		return nil
	})
	if err != nil || read < 100 {
		t.Errorf("%d files read: %v", read, err)
	}
}

// link is a link to a file of the repository, or to a heading.
var link = regexp.MustCompile(`\]\(([^)#: ]*)(?:#([^) ]*))?\)`)

// anchors are the names of the headings of a document, as GitHub makes them.
func anchors(text string) []string {
	var out []string
	for _, line := range prose(text) {
		title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
		if !ok || !strings.HasPrefix(line, "#") {
			continue
		}
		out = append(out, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, title))
	}
	return out
}

func TestLinksOfDocumentsLeadSomewhere(t *testing.T) {
	links := 0
	for _, path := range documents(t) {
		for number, line := range prose(readDocument(t, path)) {
			for _, l := range link.FindAllStringSubmatch(codeSpan.ReplaceAllString(line, ""), -1) {
				links++
				target := path
				if l[1] != "" {
					target = filepath.ToSlash(filepath.Join(filepath.Dir(path), l[1]))
				}
				if _, err := os.Stat(filepath.Join(root, target)); err != nil {
					t.Errorf("%s:%d: %v", path, number, err)
				} else if l[2] != "" && !slices.Contains(anchors(readDocument(t, target)), l[2]) {
					t.Errorf("%s:%d: %s has no heading for #%s", path, number, target, l[2])
				}
			}
		}
	}
	if links < 50 {
		t.Errorf("only %d links", links)
	}
}

// foreign are texts in the tables of docs/OPERATIONS.md that other programs print.
var foreign = []string{"bad certificate", "unknown certificate authority"}

// afterMessage is where a message that docs/OPERATIONS.md quotes ends: what follows it
// are attributes, or differs each time.
var afterMessage = regexp.MustCompile(` ?…| [a-z]+=`)

// An operator searches the page for what the log says, so that it must be quoted as it is.
func TestOperationsQuotesMessagesAsTheyAre(t *testing.T) {
	var code strings.Builder
	for _, src := range sources(t, false) {
		code.Write(src.text)
	}
	_, page, found := strings.Cut(readDocument(t, "docs/OPERATIONS.md"), "\n## What the log says\n")
	if !found {
		t.Fatal("no section on what the log says")
	}
	quoted := 0
	for number, line := range prose(page) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 || !strings.Contains(cells[1], "`") {
			continue
		}
		for _, span := range codeSpan.FindAllString(cells[1], -1) {
			message := strings.Trim(span, "`\"")
			if at := afterMessage.FindStringIndex(message); at != nil {
				message = message[:at[0]]
			}
			if message == "" || strings.HasPrefix(message, "concord_") || slices.Contains(foreign, message) {
				continue
			}
			quoted++
			if !strings.Contains(code.String(), message) {
				t.Errorf("line %d of the section: no code says %q", number, message)
			}
		}
	}
	if quoted < 30 {
		t.Errorf("only %d messages", quoted)
	}
}
