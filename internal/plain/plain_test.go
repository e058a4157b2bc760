package plain

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestText(t *testing.T) {
	for s, want := range map[string]string{
		"":                             "",
		"node 1: ä 日本 😀":               "node 1: ä 日本 😀",
		`C:\x`:                         `C:\x`,
		"a\nb\r\tc":                    `a\nb\r\tc`,
		"\x1b[2Jx":                     `\x1b[2Jx`,
		"\x00\x7f\u0085\u009b2J":       `\x00\x7f\u0085\u009b2J`,
		"bad\xff":                      `bad\xff`,
		"ab\u202ecd\u2066\u200b\ufeff": `ab\u202ecd\u2066\u200b\ufeff`,
		"\u2028line":                   `\u2028line`,
		"\U000e0001":                   `\U000e0001`,
	} {
		if got := Text(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
	if got := Lines("a\x1b\n\tb\r\n"); got != "a\\x1b\n\tb\\r\n" {
		t.Errorf("lines: %q", got)
	}
}

func TestJSONKeepsTheValues(t *testing.T) {
	for _, s := range []string{"", "ä\n\x1b", "\x7f\u009b\u202e\u2066\ufeff\u2028", "\U000e0001😀\U0010ffff"} {
		encoded, err := json.Marshal(map[string]string{"a": s})
		if err != nil {
			t.Fatal(err)
		}
		safe := JSON(encoded)
		var back map[string]string
		if err := json.Unmarshal(safe, &back); err != nil || back["a"] != s {
			t.Errorf("%q: %s, %v", s, safe, err)
		}
		if strings.ContainsFunc(string(safe), func(r rune) bool { return !strconv.IsPrint(r) }) {
			t.Errorf("%q: %q", s, safe)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("a\x1b\u202e\xff")
	f.Fuzz(func(t *testing.T, s string) {
		got := Text(s)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !strconv.IsPrint(r) }) {
			t.Errorf("%q: %q", s, got)
		}
		if Text(got) != got {
			t.Errorf("%q: not the same again", got)
		}
	})
}
