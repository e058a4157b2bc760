package concord_test

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ollelogdahl/concord"
)

// public are the types that programs encode, each with all of its 64-bit numbers set.
func public(n uint64) []any {
	s := concord.Server{Name: "a", Id: n, Address: "h:1"}
	r := concord.Range{Start: n - 1, End: n}
	return []any{
		&s, &r,
		&concord.Finger{Server: s, Low: n - 1, High: n},
		&concord.Status{Self: s, Incarnation: n, Range: &r, Predecessor: &s, Successors: []concord.Server{s},
			Fingers: []concord.Finger{{Server: s, Low: n - 1, High: n}}, Acquaintances: []concord.Server{}},
		&concord.ClientStatus{Contacts: []concord.Server{s}},
		&concord.Member{Server: s, Incarnation: n, Successors: []concord.Server{s}, NamedBy: &s},
		&concord.Event{Old: r, New: r, Gained: []concord.Range{r}, Lost: []concord.Range{r}, From: s, To: s},
		&concord.Trace{Key: []byte("k"), Id: n, Owner: s, Range: &r, Hops: []concord.Hop{{Server: s, Named: []concord.Server{s}}}},
	}
}

// Numbers of more than 53 bits would be damaged by whoever reads them as floats.
func TestIdentifiersAreStringsInJSONAndSurvive(t *testing.T) {
	long := regexp.MustCompile(`[^"\d]\d{16,}`)
	for _, v := range public(math.MaxUint64) {
		name := reflect.TypeOf(v).String()
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if at := long.FindIndex(b); at != nil {
			t.Errorf("%s: a long number without quotes at byte %d: %s", name, at[0], b)
		}
		quoted := regexp.MustCompile(`"(\d{16,})"`)
		for how, text := range map[string][]byte{"as encoded": b, "as numbers": quoted.ReplaceAll(b, []byte("$1"))} {
			got := reflect.New(reflect.TypeOf(v).Elem()).Interface()
			if err := json.Unmarshal(text, got); err != nil || !reflect.DeepEqual(got, v) {
				t.Errorf("%s, %s: %v: %s\n%+v\nwant\n%+v", name, how, err, text, got, v)
			}
		}
	}
}

// A program that adds a number to a public type and forgets its encoding is told.
func TestEveryWideNumberOfAPublicTypeIsAStringInJSON(t *testing.T) {
	var check func(of reflect.Type)
	check = func(of reflect.Type) {
		for f := range of.Fields() {
			kind := f.Type
			for kind.Kind() == reflect.Pointer || kind.Kind() == reflect.Slice {
				kind = kind.Elem()
			}
			_, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case kind == reflect.TypeFor[concord.Counters](): // what is counted stays below 2^53
			case kind == reflect.TypeFor[time.Time](): // has a text of its own
			case kind.Kind() == reflect.Struct:
				check(kind)
			case kind.Kind() == reflect.Uint64 && options != "string":
				t.Errorf("%s.%s needs the option string in its json tag, and UnmarshalJSON", of, f.Name)
			}
		}
	}
	for _, v := range public(1) {
		check(reflect.TypeOf(v).Elem())
	}
}

func TestWhatIsNoIdentifierIsRefusedInJSON(t *testing.T) {
	for _, id := range []string{`-1`, `1.5`, `1e3`, `"x"`, `""`, `"18446744073709551616"`, `" 1"`, `true`} {
		s := concord.Server{Name: "a", Id: 7}
		err := json.Unmarshal(fmt.Appendf(nil, `{"id":%s}`, id), &s)
		if err == nil || !strings.Contains(err.Error(), strings.Trim(id, " ")) || s.Id != 7 {
			t.Errorf("%s: %v, %+v", id, err, s)
		}
	}
	for _, nothing := range []string{`null`, `{}`, `{"id":null}`} {
		s := concord.Server{Name: "a", Id: 7}
		if err := json.Unmarshal([]byte(nothing), &s); err != nil || s != (concord.Server{Name: "a", Id: 7}) {
			t.Errorf("%s: %v, %+v", nothing, err, s)
		}
	}
}
