package bench

import "fmt"

// Brief words nanoseconds with three digits.
func Brief(ns float64) string {
	for _, u := range []struct {
		name string
		is   float64
	}{{"s", 1e9}, {"ms", 1e6}, {"µs", 1e3}} {
		if x := ns / u.is; x >= 0.9995 {
			return ThreeDigits(x) + " " + u.name
		}
	}
	return fmt.Sprintf("%.0f ns", ns)
}

// ThreeDigits words a number from 1 to 999 with three digits, and a greater one with
// all that it has before the point.
func ThreeDigits(x float64) string {
	switch {
	case x < 9.995:
		return fmt.Sprintf("%.2f", x)
	case x < 99.95:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.0f", x)
}

// KiB words a number of bytes, rounded to whole KiB.
func KiB(bytes uint64) string { return fmt.Sprintf("%d KiB", (bytes+512)/1024) }
