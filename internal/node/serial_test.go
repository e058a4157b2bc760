package node

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
)

// slow is a log handler that is at work on one record until it is let go on.
type slow struct {
	release chan struct{}
	got     []slog.Record
}

func (s *slow) Enabled(context.Context, slog.Level) bool { return true }
func (s *slow) WithAttrs([]slog.Attr) slog.Handler       { return s }
func (s *slow) WithGroup(string) slog.Handler            { return s }

func (s *slow) Handle(_ context.Context, r slog.Record) error {
	<-s.release
	s.got = append(s.got, r)
	return nil
}

func TestRecordsThatASlowLogHandlerMissesAreCountedAndTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler := &slow{release: make(chan struct{})}
		g := newRig(t, 1)
		g.log = handler
		n := g.add("n0")
		defer g.close()
		for range maxRecords + 10 {
			n.Note(slog.LevelInfo, "noise")
		}
		synctest.Wait()
		lost := n.Counters().LogRecordsLost
		if lost < 8 || lost > 10 { // one or two are at work or on their way
			t.Errorf("%d lost", lost)
		}
		close(handler.release)
		synctest.Wait()
		n.Note(slog.LevelInfo, "after")
		n.Note(slog.LevelInfo, "more")
		synctest.Wait()
		told := 0
		for i, r := range handler.got {
			if r.Message != "log records lost" {
				continue
			}
			told++
			r.Attrs(func(a slog.Attr) bool {
				if a.Key == "count" && a.Value.Uint64() != lost {
					t.Errorf("the log tells of %d, %d were lost", a.Value.Uint64(), lost)
				}
				return true
			})
			if i+1 >= len(handler.got) || handler.got[i+1].Message != "after" {
				t.Error("the loss is not told before the next record")
			}
		}
		if told != 1 || n.Counters().LogRecordsLost != lost {
			t.Errorf("told %d times; %d counted", told, n.Counters().LogRecordsLost)
		}
	})
}
