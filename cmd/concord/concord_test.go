//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ollelogdahl/concord/internal/child"
	"github.com/ollelogdahl/concord/internal/demo"
)

const patience = 30 * time.Second

// binary builds the command once.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "concord-test")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "concord.exe")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		return bin, fmt.Errorf("%w\n%s", err, out)
	}
	return bin, nil
})

func TestRunWithoutAClusterSaysSo(t *testing.T) {
	for _, args := range [][]string{nil, {"--cluster", "x"}} {
		m, _ := runMember(t, append([]string{"--name", "a"}, args...)...)
		if err := m.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if err := m.Wait(); err != nil {
			t.Error(err)
		}
		logs := m.logs.String()
		if said := strings.Contains(logs, `level=INFO msg="no cluster is named`); said != (args == nil) || strings.Contains(logs, "level=WARN") {
			t.Errorf("%v: %s", args, logs)
		}
	}
}

func TestMain(m *testing.M) {
	// Most tests are of members at one identifier each, whose places are known.
	os.Setenv("CONCORD_VIRTUAL_NODES", "1")
	code := m.Run()
	if bin, _ := binary(); bin != "" {
		os.RemoveAll(filepath.Dir(bin))
	}
	os.Exit(code)
}

// command is a run of the built command, killed if it takes too long.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, bin, args...)
}

var processes = regexp.MustCompile(`process (\d+)`)

// awaitGone waits until none of the processes that the demo's story names runs.
func awaitGone(t *testing.T, story string) {
	t.Helper()
	found := processes.FindAllStringSubmatch(story, -1)
	if len(found) == 0 {
		t.Errorf("no process is named in:\n%s", story)
	}
	deadline := time.After(patience)
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for _, m := range found {
		pid, _ := strconv.Atoi(m[1])
		for syscall.Kill(pid, 0) == nil && !zombie(pid) {
			select {
			case <-again.C:
			case <-deadline:
				t.Fatalf("process %d is left", pid)
			}
		}
	}
}

// zombie reports whether a process has ended and only waits for init to reap it.
func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, state, _ := strings.Cut(string(stat), ") ")
	return err == nil && strings.HasPrefix(state, "Z")
}

func TestDemoEndsWellByItself(t *testing.T) {
	for _, members := range []int{3, 5} {
		cmd := command(t, "demo", "--members", strconv.Itoa(members))
		began := time.Now()
		out, err := cmd.CombinedOutput()
		story := string(out)
		if err != nil {
			t.Fatalf("%v\n%s", err, story)
		}
		t.Logf("%d members: %v", members, time.Since(began))
		for _, want := range []string{"A ring forms", "node1 ", "founds it", "joins through", "kill -9", "took over its keys",
			"leaves politely", "All was right", fmt.Sprintf("all %d agree", members)} {
			if !strings.Contains(story, want) {
				t.Errorf("the story lacks %q:\n%s", want, story)
			}
		}
		for line := range strings.Lines(story) {
			if utf8.RuneCountInString(strings.TrimRight(line, "\n")) > 80 {
				t.Errorf("wider than 80 columns: %q", line)
			}
		}
		awaitGone(t, story)
	}
}

func TestDemoSummaryIsJSON(t *testing.T) {
	var out, story bytes.Buffer
	cmd := command(t, "demo", "--json", "--members", "4")
	cmd.Stdout, cmd.Stderr = &out, &story
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, story.String())
	}
	var sum demo.Summary
	if err := json.Unmarshal(out.Bytes(), &sum); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if sum.Members != 4 || len(sum.Joins) != 4 || sum.Lookups == 0 || sum.Killed == "" || sum.Left == "" || len(sum.Wrong) != 0 {
		t.Errorf("summary is %+v", sum)
	}
}

func TestKilledDemoLeavesNoProcesses(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere the members leave when their input ends, which may take a while")
	}
	cmd := command(t, "demo", "--members", "32")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var story strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		fmt.Fprintln(&story, lines.Text())
		if strings.Contains(lines.Text(), "node4 ") {
			cmd.Process.Kill()
		}
	}
	cmd.Wait()
	awaitGone(t, story.String())
}

// interrupted runs a command, signals it at the first line that matches, and
// returns what it has told. It must end with an error that says why.
func interrupted(t *testing.T, sig os.Signal, matches func(line string) bool, args ...string) (story string) {
	t.Helper()
	cmd := command(t, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var told strings.Builder
	sent := false // a second signal would end it without a word
	for lines := bufio.NewScanner(out); lines.Scan(); {
		fmt.Fprintln(&told, lines.Text())
		if !sent && matches(lines.Text()) {
			sent = true
			cmd.Process.Signal(sig)
		}
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(errs.String(), "interrupted") {
		t.Errorf("%v, %q", err, errs.String())
	}
	return told.String()
}

func TestInterruptedDemoSaysSo(t *testing.T) {
	awaitGone(t, interrupted(t, os.Interrupt, func(line string) bool { return strings.Contains(line, "node4 ") }, "demo", "--members", "32"))
}

func TestInterruptedSimulationEndsAtOnce(t *testing.T) {
	interrupted(t, syscall.SIGTERM, func(string) bool { return true }, "sim", "paper", "--largest", "1048576")
}

// member is a run of "concord run --control".
type member struct {
	*exec.Cmd
	in   io.WriteCloser
	out  *bufio.Scanner
	logs bytes.Buffer
}

func runMember(t *testing.T, args ...string) (m *member, ready string) {
	t.Helper()
	m = &member{Cmd: command(t, append([]string{"run", "--bind", "127.0.0.1:0", "--control"}, args...)...)}
	var err error
	if m.in, err = m.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := m.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	m.out = bufio.NewScanner(out)
	m.Stderr = &m.logs
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.Process.Kill()
		m.Wait()
	})
	return m, m.line(t)
}

func (m *member) line(t *testing.T) string {
	t.Helper()
	if !m.out.Scan() {
		m.Wait()
		t.Fatalf("ended: %s", m.logs.String())
	}
	return m.out.Text()
}

func (m *member) ask(t *testing.T, command string) (a child.Answer) {
	t.Helper()
	fmt.Fprintln(m.in, command)
	if err := json.Unmarshal([]byte(m.line(t)), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestRunJoinsAnswersAndLeaves(t *testing.T) {
	a, ready := runMember(t, "--name", "a member", "--cluster", "x")
	fields := regexp.MustCompile(`^ready name="a member" id=(\d+) address=(127\.0\.0\.1:\d+)$`).FindStringSubmatch(ready)
	if fields == nil {
		t.Fatalf("ready line is %q", ready)
	}
	b, _ := runMember(t, "--name", "b", "--cluster", "x", "--join", "127.0.0.1:1", "--join", fields[2])
	for _, m := range []*member{a, b} {
		if got := m.ask(t, "lookup a member"); got.Server == nil || fmt.Sprint(got.Server.Id) != fields[1] {
			t.Errorf("a key at a member's identifier belongs to %+v", got)
		}
	}
	if got := b.ask(t, "status"); got.Status == nil || got.Status.Phase != "joined" || len(got.Status.Successors) != 1 {
		t.Errorf("status is %+v", got)
	}
	if got := b.ask(t, "dance"); !strings.Contains(got.Error, "dance") {
		t.Errorf("an unknown command is answered %+v", got)
	}
	if out, err := command(t, "run", "--name", "b", "--bind", "127.0.0.1:0", "--cluster", "x", "--join", fields[2]).CombinedOutput(); err == nil ||
		!strings.Contains(string(out), "choose another --name") {
		t.Errorf("a name that is taken: %v: %s", err, out)
	}
	if out, err := command(t, "run", "--name", "c", "--bind", "127.0.0.1:0", "--join", fields[2]).CombinedOutput(); err == nil ||
		!strings.Contains(string(out), "same --cluster") {
		t.Errorf("another cluster: %v: %s", err, out)
	}

	b.Process.Signal(syscall.SIGTERM)
	if err := b.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v: %s", err, b.logs.String())
	}
	if got := a.ask(t, "lookup b"); got.Server == nil || got.Server.Name != "a member" {
		t.Errorf("b has left, its key belongs to %+v", got)
	}
	a.in.Close()
	if err := a.Wait(); err != nil {
		t.Errorf("after the end of the input: %v: %s", err, a.logs.String())
	}
}

func TestRunFoundJoinsTheRingThatIsThere(t *testing.T) {
	a, ready := runMember(t, "--name", "a", "--min-members", "2")
	if got := a.ask(t, "status"); got.Status == nil || !got.Status.Isolated {
		t.Errorf("alone, with --min-members 2: %+v", got.Status)
	}
	_, addr, _ := strings.Cut(ready, "address=")
	b, _ := runMember(t, "--name", "b", "--min-members", "2", "--found", "--join", "127.0.0.1:1", "--join", addr)
	if got := b.ask(t, "status"); got.Status == nil || got.Status.Isolated || len(got.Status.Successors) != 1 {
		t.Errorf("in a ring of two, with --min-members 2: %+v", got.Status)
	}
}

func TestNumberedCommandsAreAnsweredByNumber(t *testing.T) {
	m, _ := runMember(t, "--name", "a")
	const n = 200 // more than are worked on at once
	go func() {
		for i := 1; i <= n; i++ {
			fmt.Fprintf(m.in, "%d lookup 7 keys\n", i)
		}
	}()
	seen := map[uint64]bool{}
	for range n {
		var a child.Answer
		if err := json.Unmarshal([]byte(m.line(t)), &a); err != nil {
			t.Fatal(err)
		}
		if a.Call < 1 || a.Call > n || seen[a.Call] || a.Server == nil || a.Server.Name != "a" {
			t.Fatalf("answer is %+v", a)
		}
		seen[a.Call] = true
	}
}

func TestRunWithMutualTLS(t *testing.T) {
	dir := t.TempDir()
	certificates(t, dir)
	flags := []string{"--tls-cert", filepath.Join(dir, "cert.pem"), "--tls-key", filepath.Join(dir, "key.pem"), "--tls-ca", filepath.Join(dir, "ca.pem")}
	a, _ := runMember(t, append(flags, "--name", "a")...)
	addr := a.ask(t, "status").Status.Self.Address
	b, _ := runMember(t, append(flags, "--name", "b", "--join", addr)...)
	if got := b.ask(t, "lookup a"); got.Server == nil || got.Server.Address != addr {
		t.Errorf("lookup gives %+v", got)
	}
}

// certificates writes ca.pem and, of that CA, cert.pem with key.pem.
func certificates(t *testing.T, dir string) {
	t.Helper()
	write := func(name, kind string, der []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	issue := func(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if parent == nil {
			parent, signer = template, key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return cert, key
	}
	from, to := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	ca, caKey := issue(&x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	cert, key := issue(&x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "member"}, NotBefore: from, NotAfter: to,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}, ca, caKey)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write("ca.pem", "CERTIFICATE", ca.Raw)
	write("cert.pem", "CERTIFICATE", cert.Raw)
	write("key.pem", "PRIVATE KEY", der)
}
