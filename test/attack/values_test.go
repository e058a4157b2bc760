package attack

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // with which an attacker compresses
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/transport/attacktest"
)

// One message of 40 bytes made a member one that nobody believed in.
func TestImpossibleIncarnationOfAVictim(t *testing.T) {
	r := attacked(t, 5)
	victim := r.member(0)
	forged := world.Server(victim.Name(), victim.Address(), 1<<64-1)
	r.unmoved(3, func() {
		for _, m := range r.Members() {
			r.counted(m, impossible, 1, func() {
				_, err := client(t, m).Introduce(bounded(t, patience), &pb.IntroduceReq{Subject: forged, Request: world.Request(nil, server(m))})
				refused(t, err, codes.InvalidArgument, "incarnation 18446744073709551615")
			})
		}
	})
	for _, m := range r.Members() {
		r.logged(m, "incarnation refused")
	}
}

func TestIncarnationExtremesInEveryField(t *testing.T) {
	r := attacked(t, 3)
	m := r.member(0)
	c := client(t, m)
	honest := world.Server("somebody", "127.0.0.1:9", attacktest.Now())
	r.unmoved(3, func() {
		for _, incarnation := range []uint64{1<<64 - 1, 1 << 63, ring.MaxIncarnation + 1, attacktest.Now() + uint64(48*time.Hour/time.Millisecond)} {
			forged := world.Server("somebody", "127.0.0.1:9", incarnation)
			for _, method := range methods {
				r.counted(m, impossible, 1, func() {
					err := method.ask(bounded(t, patience), c, world.Request(forged, server(m)), honest)
					if method.name == "Notify" || method.name == "Notify of a joiner" {
						err = method.ask(bounded(t, patience), c, world.Request(nil, server(m)), forged)
					}
					refused(t, err, codes.InvalidArgument, fmt.Sprint(incarnation))
				})
				if named[method.name] {
					r.counted(m, impossible, 1, func() {
						refused(t, method.ask(bounded(t, patience), c, world.Request(nil, server(m)), forged), codes.InvalidArgument, fmt.Sprint(incarnation))
					})
				}
			}
		}
	})
	r.logged(m, "incarnation refused")
}

func TestIdentifierThatIsNotTheHashOfItsName(t *testing.T) {
	r := attacked(t, 3)
	m := r.member(0)
	c := client(t, m)
	forged := world.Server("somebody", "127.0.0.1:9", attacktest.Now())
	forged.Id = m.Id() - 1 // to take its place
	r.unmoved(3, func() {
		for _, method := range methods {
			if named[method.name] {
				r.counted(m, incoming, 1, func() {
					err := method.ask(bounded(t, patience), c, world.Request(nil, server(m)), forged)
					if code := status.Code(err); code != codes.InvalidArgument && code != codes.FailedPrecondition {
						t.Errorf("%s: %v", method.name, err)
					}
					refused(t, err, status.Code(err), "is not the hash of its name")
				})
			}
		}
	})
	r.logged(m, "is not the hash of its name")
}

func TestForgedSenderOfEveryMethod(t *testing.T) {
	r := attacked(t, 4)
	m, other := r.member(0), r.member(1)
	c := client(t, m)
	later := world.Server(other.Name(), other.Address(), other.Status().Incarnation)
	r.unmoved(3, func() {
		for _, method := range methods {
			switch method.name {
			case "Leave", "Notify", "Notify of a joiner": // which have tests of their own
				continue
			}
			// It may be answered: what is told is what anybody may know.
			_ = method.ask(bounded(t, patience), c, world.Request(later, server(m)), server(r.member(2)))
		}
	})
}

func TestWrongTargetOfEveryMethod(t *testing.T) {
	r := attacked(t, 3)
	m := r.member(0)
	c := client(t, m)
	earlier := server(m)
	earlier.Incarnation--
	r.unmoved(1, func() {
		for _, meant := range []*pb.Server{server(r.member(1)), earlier, {Id: m.Id(), Incarnation: 1<<64 - 1}, {Id: 1<<64 - 1}} {
			for _, method := range methods {
				err := method.ask(bounded(t, patience), c, world.Request(nil, meant), world.Server("somebody", "127.0.0.1:9", attacktest.Now()))
				if status.Code(err) != codes.FailedPrecondition || len(status.Convert(err).Details()) != 1 {
					t.Errorf("%s for another member: %v", method.name, err)
					continue
				}
				wrong, ok := status.Convert(err).Details()[0].(*pb.WrongMember)
				if !ok || wrong.GetAnswerer().GetName() != m.Name() {
					t.Errorf("%s for another member: %v", method.name, status.Convert(err).Details())
				}
			}
		}
	})
}

func TestForeignSettingsOfEveryMethod(t *testing.T) {
	r := attacked(t, 3)
	m := r.member(0)
	c := client(t, m)
	r.unmoved(1, func() {
		for setting, change := range map[string]func(*pb.Settings){
			"Cluster":  func(s *pb.Settings) { s.Cluster = 7 },
			"HashBits": func(s *pb.Settings) { s.HashBits = 32 },
			"HashFunc": func(s *pb.Settings) { s.HashCheck++ },
		} {
			for _, method := range methods {
				r.counted(m, incoming, 1, func() {
					e := world.Request(nil, server(m))
					change(e.GetSettings())
					err := method.ask(bounded(t, patience), c, e, world.Server("somebody", "127.0.0.1:9", attacktest.Now()))
					refused(t, err, codes.FailedPrecondition, "")
					if d := status.Convert(err).Details(); len(d) != 1 || !strings.Contains(fmt.Sprint(d[0]), setting) {
						t.Errorf("%s: the answer does not say %s: %v", method.name, setting, d)
					}
				})
			}
		}
		r.counted(m, incoming, 1, func() {
			e := world.Request(nil, server(m))
			e.Settings.HashBits = 65
			_, err := c.Route(bounded(t, patience), &pb.RouteReq{Request: e})
			refused(t, err, codes.InvalidArgument, "hash_bits is 65 (at most 64)")
		})
	})
	r.logged(m, "another kind of ring: ")
}

func TestIdentifierOffTheCircle(t *testing.T) {
	narrow := attacktest.World{Space: ring.Space{Bits: 16, Hash: ring.SHA256}}
	r := attacked(t, 2, narrowed)
	m := r.member(0)
	c := client(t, m)
	target := narrow.Server(m.Name(), m.Address(), m.Status().Incarnation)
	for _, ask := range []func() error{
		func() error {
			_, err := c.Route(bounded(t, patience), &pb.RouteReq{Id: 1 << 16, Request: narrow.Request(nil, target)})
			return err
		},
		func() error {
			_, err := c.FindSuccessor(bounded(t, patience), &pb.FindReq{Id: 1 << 16, Request: narrow.Request(nil, target)})
			return err
		},
	} {
		r.counted(m, incoming, 1, func() {
			refused(t, ask(), codes.InvalidArgument, "the identifier has more than HashBits bits")
		})
	}
	r.stands()
	r.logged(m, "more than HashBits bits")
}

func TestListsOfAHundredThousandEntries(t *testing.T) {
	r := attacked(t, 3)
	m := r.member(0)
	c := client(t, m)
	many := func(n int) (list []*pb.Server) {
		x := world.Server("somebody", "127.0.0.1:9", attacktest.Now())
		for range n {
			list = append(list, x)
		}
		return list
	}
	r.unmoved(1, func() {
		for _, n := range []int{65, 500} {
			r.counted(m, incoming, 1, func() {
				_, err := c.Leave(bounded(t, patience), &pb.LeaveReq{Successors: many(n), Request: world.Request(server(r.member(1)), server(m))})
				refused(t, err, codes.InvalidArgument, fmt.Sprintf("successors has %d entries (at most 64)", n))
			})
		}
		for _, n := range []int{33, 5000} {
			r.counted(m, incoming, 1, func() {
				_, err := c.Route(bounded(t, patience), &pb.RouteReq{Avoid: make([]*pb.Target, n), Request: world.Request(nil, server(m))})
				refused(t, err, codes.InvalidArgument, fmt.Sprintf("avoid has %d entries (at most 32)", n))
			})
		}
		_, err := c.Leave(bounded(t, patience), &pb.LeaveReq{Successors: many(100_000), Request: world.Request(server(r.member(1)), server(m))})
		refused(t, err, codes.ResourceExhausted, "larger than max")
	})
	r.logged(m, "entries (at most ")
}

func TestHugeAndOddNames(t *testing.T) {
	r := attacked(t, 3)
	m := r.member(0)
	c := client(t, m)
	r.unmoved(1, func() {
		for words, name := range map[string]string{
			"has no name": "", "name of 256 bytes (at most 255)": strings.Repeat("n", 256), "name of 30000 bytes": strings.Repeat("n", 30_000),
		} {
			for _, method := range methods {
				if !named[method.name] {
					continue
				}
				r.counted(m, incoming, 1, func() {
					err := method.ask(bounded(t, patience), c, world.Request(nil, server(m)), world.Server(name, "127.0.0.1:9", attacktest.Now()))
					refused(t, err, codes.InvalidArgument, words)
				})
			}
		}
	})
	r.logged(m, "incoming request refused")
}

// Names and addresses with control characters are written escaped, in errors and in the log.
func TestNamesThatWriteLinesOfTheLog(t *testing.T) {
	r := attacked(t, 3)
	m := r.member(0)
	c := client(t, m)
	evil := "x\x1b[2J\nlevel=ERROR msg=owned member=m0 "
	r.unmoved(1, func() {
		for _, method := range methods {
			if named[method.name] {
				forged := world.Server(evil, "127.0.0.1:9", 1<<63)
				_ = method.ask(bounded(t, patience), c, world.Request(forged, server(m)), forged)
				forged.Id++
				forged.Incarnation = attacktest.Now()
				_ = method.ask(bounded(t, patience), c, world.Request(nil, server(m)), forged)
			}
		}
	})
	r.logged(m, `\x1b[2J\nlevel=ERROR msg=owned`)
	for line := range strings.Lines(r.log.text()) {
		if strings.HasPrefix(line, "level=") || strings.ContainsRune(line, '\x1b') {
			t.Errorf("the log has the line %q", line)
		}
	}
}

func TestAddressesThatNobodyCanDial(t *testing.T) {
	r := attacked(t, 3)
	m := r.member(0)
	c := client(t, m)
	r.unmoved(1, func() {
		for _, addr := range []string{
			"", "nowhere", ":7946", "host:0", "host:65536", "host:-1", "host:http", "unix:/tmp/socket", "dns:///host:1", "http://host/",
			"host:1:2", strings.Repeat("h", 257) + ":7946",
		} {
			for _, method := range methods {
				if !named[method.name] {
					continue
				}
				r.counted(m, incoming, 1, func() {
					err := method.ask(bounded(t, patience), c, world.Request(nil, server(m)), world.Server("somebody", addr, attacktest.Now()))
					refused(t, err, codes.InvalidArgument, "address")
				})
			}
		}
	})
	r.logged(m, "incoming request refused")
}

func TestBytesThatAreNoMessage(t *testing.T) {
	r := attacked(t, 3)
	m := r.member(0)
	c := client(t, m)
	r.unmoved(1, func() {
		for _, method := range []string{"FindSuccessor", "GetRing", "Notify", "Route", "Place", "Introduce", "Changed", "Leave", "Meta"} {
			for _, garbage := range [][]byte{
				{0xff}, []byte("GET / HTTP/1.1\r\n\r\n"),
				protowire.AppendTag(nil, 16, protowire.StartGroupType),                                  // that never ends
				append(protowire.AppendTag(nil, 16, protowire.BytesType), 0xff, 0xff, 0xff, 0xff, 0x0f), // 4 GiB to come
			} {
				r.counted(m, incoming, 1, func() {
					var answer []byte
					err := c.Conn().Invoke(bounded(t, patience), "/concord.ChordService/"+method, &garbage, &answer, grpc.ForceCodecV2(attacktest.Raw{}))
					refused(t, err, codes.Internal, "failed to unmarshal")
				})
			}
		}
	})
	r.logged(m, "failed to unmarshal")
}

// A message within a message within a message, ten thousand deep.
func TestMessagesWithinMessages(t *testing.T) {
	r := attacked(t, 3)
	m := r.member(0)
	nested := []byte{}
	for len(nested) < 50_000 {
		nested = protowire.AppendBytes(protowire.AppendTag(nil, 16, protowire.BytesType), nested)
	}
	r.unmoved(1, func() {
		r.counted(m, incoming, 1, func() {
			var answer []byte
			err := client(t, m).Conn().Invoke(bounded(t, patience), "/concord.ChordService/Route", &nested, &answer, grpc.ForceCodecV2(attacktest.Raw{}))
			if code := status.Code(err); err == nil || code != codes.InvalidArgument && code != codes.FailedPrecondition {
				t.Errorf("answered with %v", err)
			}
		})
	})
}

func TestOversizeMessages(t *testing.T) {
	r := attacked(t, 3)
	m := r.member(0)
	c := client(t, m)
	r.unmoved(1, func() {
		for _, size := range []int{64<<10 + 1, 1 << 20, 16 << 20} {
			message := make([]byte, size)
			var answer []byte
			err := c.Conn().Invoke(bounded(t, patience), "/concord.ChordService/Notify", &message, &answer, grpc.ForceCodecV2(attacktest.Raw{}))
			refused(t, err, codes.ResourceExhausted, "larger than max")
		}
	})
	r.logged(m, "larger than max")
}

func TestMethodsThatAMemberDoesNotHave(t *testing.T) {
	r := attacked(t, 2)
	m := r.member(0)
	c := client(t, m)
	for _, method := range []string{
		"/concord.ChordService/Shutdown", "/concord.admin.Admin/Leave", "/grpc.health.v1.Health/Check",
		"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/../../etc/passwd", "//",
	} {
		message, answer := []byte{}, []byte{}
		err := c.Conn().Invoke(bounded(t, patience), method, &message, &answer, grpc.ForceCodecV2(attacktest.Raw{}))
		if code := status.Code(err); code != codes.Unimplemented {
			t.Errorf("%s: %v", method, err)
		}
	}
	r.stands()
}

// A compressed message that becomes a thousand times larger is given up at the bound.
func TestCompressedMessages(t *testing.T) {
	r := attacked(t, 2)
	m := r.member(0)
	_, err := client(t, m).Leave(bounded(t, patience), &pb.LeaveReq{
		Successors: make([]*pb.Server, 1_000_000), Request: world.Request(nil, server(m)),
	}, grpc.UseCompressor("gzip"))
	refused(t, err, codes.ResourceExhausted, "after decompression larger than max")
	r.stands()
}
