package concord_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ollelogdahl/concord"
)

// shares are what the members of a ring with these names have of the circle, in units
// of the mean, the smallest first.
func shares(names []string) []float64 {
	ids := make([]uint64, len(names))
	for i, name := range names {
		ids[i] = concord.New(concord.Config{Name: name}).Id()
	}
	slices.Sort(ids)
	out := make([]float64, len(ids))
	for i, id := range ids {
		before := ids[(i+len(ids)-1)%len(ids)]
		out[i] = float64(id-before) / math.Pow(2, 64) * float64(len(ids))
	}
	slices.Sort(out)
	return out
}

// The table of docs/OPERATIONS.md about how uneven one identifier a member is.
func TestTableOfSharesIsTrue(t *testing.T) {
	page, err := os.ReadFile("docs/OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	const rings = 1000
	random := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{3, 5, 10, 20, 50, 100} {
		names := make([]string, n)
		for i := range names {
			names[i] = fmt.Sprint("node-", i+1)
		}
		everyday := shares(names)
		var largest, smallest []float64
		for range rings {
			for i := range names {
				names[i] = fmt.Sprintf("%016x", random.Uint64())
			}
			s := shares(names)
			smallest, largest = append(smallest, s[0]), append(largest, s[n-1])
		}
		slices.Sort(smallest)
		slices.Sort(largest)
		row := fmt.Sprintf("| %d | %.1f (%.0f %% of all keys) | %.2g | %.1f | %.1f | %.2g |", n,
			everyday[n-1], 100*everyday[n-1]/float64(n), everyday[0],
			largest[rings/2], largest[rings*95/100], smallest[rings/2])
		if !strings.Contains(string(page), row+"\n") {
			t.Errorf("docs/OPERATIONS.md lacks this row of the table of shares:\n%s", row)
		}
	}
}
