package main

import (
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// tellTimeout is how long the supervisor may take to be told something.
const tellTimeout = time.Second

// supervisor is systemd, or whoever else started the process and wants to be told
// by the protocol of sd_notify(3). The zero supervisor is nobody.
type supervisor struct {
	socket string
	// watchdog is how often it expects a sign of life; 0: never.
	watchdog time.Duration
}

// newSupervisor is the one that the environment names, for this process.
func newSupervisor(env func(string) string) supervisor {
	s := supervisor{socket: env("NOTIFY_SOCKET")}
	if pid := env("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return s
	}
	if us, err := strconv.ParseInt(env("WATCHDOG_USEC"), 10, 64); err == nil && us > 0 {
		s.watchdog = time.Duration(us) * time.Microsecond
	}
	return s
}

// tell sends assignments, as "READY=1".
func (s supervisor) tell(assignments ...string) error {
	if s.socket == "" {
		return nil
	}
	if s.socket[0] != '/' && s.socket[0] != '@' {
		return errors.New("NOTIFY_SOCKET is neither a path nor the name of an abstract socket: " + strconv.Quote(s.socket))
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.socket, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	// One that hangs does not hold the member up.
	if err := conn.SetWriteDeadline(time.Now().Add(tellTimeout)); err != nil {
		return err
	}
	_, err = conn.Write([]byte(strings.Join(assignments, "\n")))
	return err
}

// watch gives a sign of life, twice as often as expected, while alive says that
// there is one, until done is closed.
func (s supervisor) watch(done <-chan struct{}, alive func() error) {
	if s.socket == "" || s.watchdog == 0 {
		return
	}
	tick := time.NewTicker(s.watchdog / 2)
	defer tick.Stop()
	for {
		if alive() == nil {
			_ = s.tell("WATCHDOG=1") // one that is lost is one that is missing
		}
		select {
		case <-tick.C:
		case <-done:
			return
		}
	}
}
