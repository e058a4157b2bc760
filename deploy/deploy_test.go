// Package deploy holds the tests of what this folder ships: that it is what
// Docker, Kubernetes and systemd take, and fits the command.
package deploy

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// instruction is one of a Dockerfile.
type instruction struct{ word, rest string }

func dockerfile(t *testing.T) (stages [][]instruction) {
	t.Helper()
	for line := range strings.Lines(read(t, "Dockerfile")) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		word, rest, _ := strings.Cut(line, " ")
		if word == "FROM" {
			stages = append(stages, nil)
		}
		if len(stages) == 0 {
			t.Fatalf("%q before the first FROM", line)
		}
		stages[len(stages)-1] = append(stages[len(stages)-1], instruction{word, strings.TrimSpace(rest)})
	}
	return stages
}

// buildLine is the command by which the image's binary is built.
func buildLine(t *testing.T) string {
	t.Helper()
	for _, in := range dockerfile(t)[0] {
		if in.word == "RUN" && strings.Contains(in.rest, "go build") {
			return in.rest
		}
	}
	t.Fatal("the first stage builds nothing")
	return ""
}

// binary is built as the image's is, once.
var binary = sync.OnceValues(func() (string, error) {
	data, err := os.ReadFile("Dockerfile")
	if err != nil {
		return "", err
	}
	line := regexp.MustCompile(`(?m)^RUN (.*go build.*)$`).FindSubmatch(data)
	if line == nil {
		return "", fmt.Errorf("the Dockerfile builds nothing")
	}
	dir, err := os.MkdirTemp("", "concord-deploy")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "concord")
	cmd := exec.Command("sh", "-c", strings.Replace(string(line[1]), "-o /concord", "-o '"+path+"'", 1))
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		return path, fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, _ := binary(); path != "" {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

func built(t *testing.T) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestImageHoldsOneBinaryRunByNobody(t *testing.T) {
	stages := dockerfile(t)
	if len(stages) != 2 {
		t.Fatalf("%d stages", len(stages))
	}
	build, image := stages[0], stages[1]
	gomod := read(t, "../go.mod")
	want := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(gomod)[1]
	if build[0].rest != "golang:"+want+" AS build" {
		t.Errorf("built by %s, go.mod wants %s", build[0].rest, want)
	}
	if image[0].rest != "scratch" {
		t.Errorf("the image is %s", image[0].rest)
	}
	var copies, user []string
	for _, in := range image {
		switch in.word {
		case "COPY":
			copies = append(copies, in.rest)
		case "USER":
			user = append(user, in.rest)
		case "RUN", "ADD":
			t.Errorf("%s %s: there is nothing in scratch to do it", in.word, in.rest)
		}
	}
	if !slices.Equal(copies, []string{"--from=build /concord /concord"}) {
		t.Errorf("copies %q", copies)
	}
	if len(user) != 1 || !regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`).MatchString(user[0]) {
		t.Errorf("runs as %q: must be numbers, and not root", user)
	}
	if line := buildLine(t); !strings.Contains(line, "CGO_ENABLED=0") {
		t.Errorf("%s", line)
	}
}

// scratch has no C library, and no loader for dynamic binaries.
func TestBinaryIsStatic(t *testing.T) {
	f, err := elf.Open(built(t))
	if err != nil {
		t.Skipf("SKIPPED: not a system of ELF binaries: %v", err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("has a segment %v", p.Type)
		}
	}
	out, err := exec.Command(built(t), "--help").CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("concord run")) {
		t.Errorf("%v: %s", err, out)
	}
}

// What is kept out of the image's build must not be needed by it.
func TestDockerignoreSparesTheSources(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.Dir}}{{end}}", "./cmd/concord")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(read(t, "../.dockerignore")) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if strings.Contains(string(out), filepath.Join(root, line)+"/") || strings.Contains(string(out), filepath.Join(root, line)+"\n") {
			t.Errorf("%s is left out, and the command needs it", line)
		}
	}
}

// manifests are decoded strictly: an unknown or misspelt field is an error.
func manifests(t *testing.T) (svc corev1.Service, set appsv1.StatefulSet, pdb policyv1.PodDisruptionBudget) {
	t.Helper()
	for i, doc := range strings.Split(read(t, "kubernetes/concord.yaml"), "\n---\n") {
		var kind struct {
			Kind string `json:"kind"`
		}
		if err := yaml.Unmarshal([]byte(doc), &kind); err != nil {
			t.Fatalf("document %d: %v", i, err)
		}
		into, ok := map[string]any{"Service": &svc, "StatefulSet": &set, "PodDisruptionBudget": &pdb}[kind.Kind]
		if !ok {
			t.Fatalf("document %d is a %q", i, kind.Kind)
		}
		if err := yaml.UnmarshalStrict([]byte(doc), into); err != nil {
			t.Fatalf("%s: %v", kind.Kind, err)
		}
	}
	for what, got := range map[string]string{
		"v1": svc.APIVersion, "apps/v1": set.APIVersion, "policy/v1": pdb.APIVersion,
	} {
		if got != what {
			t.Errorf("apiVersion is %q, want %s", got, what)
		}
	}
	return svc, set, pdb
}

func TestManifestsFitTogether(t *testing.T) {
	svc, set, pdb := manifests(t)
	if svc.Spec.ClusterIP != corev1.ClusterIPNone || !svc.Spec.PublishNotReadyAddresses {
		t.Error("the service does not list members that are not ready")
	}
	if set.Spec.ServiceName != svc.Name {
		t.Errorf("the set is of service %q", set.Spec.ServiceName)
	}
	labels := set.Spec.Template.Labels
	for what, selector := range map[string]map[string]string{
		"Service": svc.Spec.Selector, "StatefulSet": set.Spec.Selector.MatchLabels, "PodDisruptionBudget": pdb.Spec.Selector.MatchLabels,
	} {
		if len(selector) == 0 {
			t.Errorf("%s selects everything", what)
		}
		for k, v := range selector {
			if labels[k] != v {
				t.Errorf("%s selects %s=%s, pods have %q", what, k, v, labels[k])
			}
		}
	}
	if set.Spec.PodManagementPolicy != appsv1.ParallelPodManagement {
		t.Error("the first pod is never ready alone, so the second would never be started")
	}
	if pdb.Spec.MaxUnavailable == nil || pdb.Spec.MaxUnavailable.IntValue() != 1 {
		t.Errorf("may be unavailable: %v", pdb.Spec.MaxUnavailable)
	}

	pod := set.Spec.Template.Spec
	c := pod.Containers[0]
	flags := flagsOf(t, c.Args)
	ports := map[string]int32{}
	for _, p := range c.Ports {
		ports[p.Name] = p.ContainerPort
	}
	port := fmt.Sprint(ports[svc.Spec.Ports[0].TargetPort.String()])
	domain := ".$(POD_NAMESPACE).svc.cluster.local"
	for flag, want := range map[string]string{
		"name":      "$(POD_NAME)",
		"bind":      ":" + port,
		"advertise": "$(POD_NAME)." + svc.Name + domain + ":" + port,
		"join":      "_" + svc.Spec.Ports[0].Name + "._tcp." + svc.Name + domain,
		"found":     "true",
		"http":      fmt.Sprintf("0.0.0.0:%d", ports["http"]),
		"metrics":   fmt.Sprintf("0.0.0.0:%d", ports["metrics"]),
	} {
		if flags[flag] != want {
			t.Errorf("--%s is %q, want %q", flag, flags[flag], want)
		}
	}
	if svc.Spec.Ports[0].Port != ports["concord"] {
		t.Error("the SRV records name another port than the members listen at")
	}
	if a := set.Spec.Template.Annotations; a["prometheus.io/port"] != fmt.Sprint(ports["metrics"]) || a["prometheus.io/path"] != "/metrics" || a["prometheus.io/scrape"] != "true" {
		t.Errorf("Prometheus is led to %v", a)
	}
	if pod.EnableServiceLinks == nil || *pod.EnableServiceLinks {
		t.Error("variables of services can be taken for flags")
	}
	if c.Lifecycle == nil || c.Lifecycle.PreStop == nil || c.Lifecycle.PreStop.Exec == nil {
		t.Fatal("a pod does not drain before it ends")
	}
	drain := c.Lifecycle.PreStop.Exec.Command
	if _, port, _ := strings.Cut(flags["admin"], ":"); drain[0] != "/concord" || !slices.Contains(drain, "--admin=127.0.0.1:"+port) {
		t.Errorf("it drains by %q, and --admin is %s", drain, flags["admin"])
	}
	leave, err := time.ParseDuration(flags["leave-timeout"])
	leave += drainTime(t, drain[1:])
	if err != nil || pod.TerminationGracePeriodSeconds == nil || time.Duration(*pod.TerminationGracePeriodSeconds)*time.Second < leave+5*time.Second {
		t.Errorf("%v to leave, %v seconds until it is killed: %v", leave, pod.TerminationGracePeriodSeconds, err)
	}
	least, err := strconv.Atoi(flags["min-members"])
	if n := int(*set.Spec.Replicas); err != nil || 2*least <= n || least > n-1 {
		t.Errorf("%d of %d replicas: want more than half, and not all: %v", least, n, err)
	}
	env := map[string]string{}
	for _, e := range c.Env {
		env[e.Name] = e.ValueFrom.FieldRef.FieldPath
	}
	if env["POD_NAME"] != "metadata.name" || env["POD_NAMESPACE"] != "metadata.namespace" {
		t.Errorf("environment %v", env)
	}
	for what, probe := range map[string]*corev1.Probe{"/readyz": c.ReadinessProbe, "/healthz": c.LivenessProbe} {
		if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != what || ports[probe.HTTPGet.Port.String()] == 0 {
			t.Errorf("the probe of %s is %+v", what, probe)
		}
	}
	s := c.SecurityContext
	if !*pod.SecurityContext.RunAsNonRoot || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
		t.Error("the pod has more rights than it needs")
	}
	user := fmt.Sprintf("%d:%d", *pod.SecurityContext.RunAsUser, *pod.SecurityContext.RunAsGroup)
	if !strings.Contains(read(t, "Dockerfile"), "\nUSER "+user+"\n") {
		t.Errorf("runs as %s, which the image does not", user)
	}
}

// drainTime is how long "concord drain" waits by its arguments, after the command has
// accepted them: nobody answers at its address.
func drainTime(t *testing.T, args []string) time.Duration {
	t.Helper()
	i := slices.IndexFunc(args, func(a string) bool { return strings.HasPrefix(a, "--timeout") })
	if args[0] != "drain" || i < 0 {
		t.Fatalf("%q does not drain in some time", args)
	}
	value, ok := strings.CutPrefix(args[i], "--timeout=")
	if !ok {
		value = args[i+1]
	}
	d, err := time.ParseDuration(value)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(built(t), append(slices.Clone(args), "--timeout=1ms")...).CombinedOutput()
	if err == nil || strings.Contains(string(out), "flag") {
		t.Errorf("%q: %s", args, out)
	}
	return d
}

// flagsOf are the flags that the command is given, by name, after the command has
// accepted them.
func flagsOf(t *testing.T, args []string) map[string]string {
	t.Helper()
	if args[0] != "run" {
		t.Fatalf("%q", args)
	}
	flags := map[string]string{}
	for _, a := range args[1:] {
		name, value, valued := strings.Cut(strings.TrimPrefix(a, "--"), "=")
		if !valued {
			value = "true"
		}
		flags[name] = value
	}
	accepted(t, args)
	return flags
}

// accepted fails the test if the command does not know the flags, or their values.
func accepted(t *testing.T, args []string) {
	t.Helper()
	out, err := exec.Command(built(t), append(slices.Clone(args), "--log-level=none")...).CombinedOutput()
	if err == nil || !strings.HasPrefix(string(out), "concord: --log-level") {
		t.Errorf("%q: %s", args, out)
	}
}

// unit is a systemd unit: the values of every setting, by section and name.
func unit(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	section := ""
	text := strings.ReplaceAll(read(t, "systemd/concord.service"), "\\\n", " ")
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "", line[0] == '#':
		case line[0] == '[':
			section = strings.Trim(line, "[]")
		default:
			key, value, ok := strings.Cut(line, "=")
			if !ok {
				t.Fatalf("%q is no setting", line)
			}
			out[section+"."+key] = append(out[section+"."+key], value)
		}
	}
	return out
}

func TestUnitFitsTheCommand(t *testing.T) {
	u := unit(t)
	if got := u["Service.Type"]; !slices.Equal(got, []string{"notify"}) {
		t.Errorf("type %q", got)
	}
	env := map[string]string{"STATE_DIRECTORY": "/var/lib/concord", "RUNTIME_DIRECTORY": "/run/concord"}
	for line := range strings.Lines(read(t, "systemd/concord.env")) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && line[0] != '#' {
			env[key] = value
		}
	}
	line := u["Service.ExecStart"][0]
	var args []string
	for _, word := range strings.Fields(line)[1:] {
		switch {
		case strings.HasPrefix(word, "${"): // one word, whatever is in it
			args = append(args, env[strings.Trim(word, "${}")])
		case strings.HasPrefix(word, "$"): // split at blanks
			args = append(args, strings.Fields(env[word[1:]])...)
		default:
			args = append(args, strings.ReplaceAll(word, "${RUNTIME_DIRECTORY}", env["RUNTIME_DIRECTORY"]))
		}
	}
	accepted(t, args)
	if slices.Contains(args, "") {
		t.Errorf("a setting is missing in %q", args)
	}
	leave, err := time.ParseDuration(args[slices.Index(args, "--leave-timeout")+1])
	if err != nil {
		t.Fatal(err)
	}
	end := strings.Fields(strings.ReplaceAll(u["Service.ExecStop"][0], "${RUNTIME_DIRECTORY}", t.TempDir()))
	if end[0] != "-/usr/local/bin/concord" || !slices.Contains(args, "unix:/run/concord/admin") {
		t.Errorf("it ends by %q, and runs with %q", end, args)
	}
	leave += drainTime(t, end[1:])
	stop, err := time.ParseDuration(u["Service.TimeoutStopSec"][0])
	if err != nil || stop < leave+5*time.Second {
		t.Errorf("%v to leave, %v until it is killed: %v", leave, stop, err)
	}
}

// systemd itself reads it, where there is one.
func TestSystemdTakesTheUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("SKIPPED: no systemd-analyze here")
	}
	dir := t.TempDir()
	text := strings.ReplaceAll(read(t, "systemd/concord.service"), "/usr/local/bin/concord", built(t))
	path := filepath.Join(dir, "concord.service")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(analyze, "verify", "--man=no", path).CombinedOutput()
	if bytes.Contains(out, []byte("Failed to initialize manager")) || bytes.Contains(out, []byte("Failed to create")) {
		t.Skipf("SKIPPED: systemd-analyze does not work here: %s", out)
	}
	if err != nil || bytes.Contains(out, []byte("concord.service")) {
		t.Errorf("%v: %s", err, out)
	}
}
