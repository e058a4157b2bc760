package node

import (
	"context"
	"log/slog"
	"time"
)

// inspectEvery is how often the node's surroundings are looked at.
const inspectEvery = time.Hour

// Remark is something that people should know of a node's surroundings.
type Remark struct {
	Message string
	Attrs   []slog.Attr
}

// inspect logs what look finds, now and every hour, unless nobody would read it. A
// nil look finds nothing. Look may call functions of the application, so the end of the
// node waits for it only for a moment.
func (fd *Finder) inspect(look func(context.Context) []Remark) {
	if look == nil || fd.log == nil {
		return
	}
	fd.wg.Go(func() {
		tick := time.NewTicker(inspectEvery)
		defer tick.Stop()
		for {
			fd.looks.put(func() {
				for _, r := range look(fd.ctx) {
					fd.Note(slog.LevelWarn, r.Message, r.Attrs...)
				}
			})
			select {
			case <-tick.C:
			case <-fd.ctx.Done():
				return
			}
		}
	})
}
