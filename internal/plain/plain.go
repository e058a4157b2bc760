// Package plain makes what others say harmless where people read it. Names of members
// and the words of their errors are chosen by others. A terminal obeys the control
// characters in them, a log reader takes a line end for a new record, and marks of
// writing direction show text in another order than it has.
package plain

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Text returns s with every character that does not print as itself replaced by its Go
// escape, such as \n or \x1b. Other backslashes stay, so that it cannot be reversed.
func Text(s string) string {
	if !strings.ContainsFunc(s, hidden) && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch _, size := utf8.DecodeRuneInString(s[i:]); {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case hidden(r):
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// Lines is Text, but that line ends and tabs stay.
func Lines(s string) string {
	var b strings.Builder
	for s != "" {
		end := strings.IndexAny(s, "\n\t")
		if end < 0 {
			end = len(s)
		}
		b.WriteString(Text(s[:end]))
		if end < len(s) {
			b.WriteByte(s[end])
			end++
		}
		s = s[end:]
	}
	return b.String()
}

// JSON returns encoded JSON, as encoding/json makes it, with the characters escaped in
// its strings that do not print as themselves. The values stay the same.
func JSON(encoded []byte) []byte {
	unsafe := func(r rune) bool { return r >= utf8.RuneSelf && hidden(r) || r == 0x7f }
	if !bytes.ContainsFunc(encoded, unsafe) {
		return encoded
	}
	var b bytes.Buffer
	for _, r := range string(encoded) {
		switch {
		case !unsafe(r):
			b.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.Bytes()
}

// hidden reports whether r does not print as itself.
func hidden(r rune) bool { return !strconv.IsPrint(r) }
