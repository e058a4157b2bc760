package main

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestDemoStaysUntilItsTerminalIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var gone atomic.Bool
		stayed, end := untilHangUp(t.Context(), func() error {
			if gone.Load() {
				return errors.New("no such device")
			}
			return nil
		})
		defer end()
		time.Sleep(time.Hour)
		synctest.Wait()
		if stayed.Err() != nil {
			t.Error("it ends while the terminal is there")
		}
		gone.Store(true)
		time.Sleep(hangUpEvery)
		synctest.Wait()
		if stayed.Err() == nil {
			t.Error("it outlives the terminal")
		}

		without, end := untilHangUp(t.Context(), func() error { return errors.New("no such device") })
		time.Sleep(time.Hour)
		synctest.Wait()
		if without.Err() != nil {
			t.Error("without a terminal it does not stay")
		}
		end()
	})
}
