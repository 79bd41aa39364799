package clients

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "github.com/authzed/authzed-go/proto/authzed/api/v1"
	"github.com/authzed/authzed-go/v1"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// A log that is written anew by whoever has stolen its key is whole and genuinely signed. What was exported before finds it: by
// the command line, and by the public package for transparency logs.

const stolenToken = "stolen-key-test"

// serving starts a server over the data and returns a client of it, and what stops it.
func serving(t *testing.T, data string) (*authzed.Client, func()) {
	t.Helper()
	command := exec.Command(os.Getenv("STONETOWN_BIN"), "serve", "--data-dir", data, "--grpc-addr", "127.0.0.1:0",
		"--metrics-enabled=false", "--grpc-preshared-key", stolenToken)
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	stop := func() {
		_ = command.Process.Signal(os.Interrupt)
		_ = command.Wait()
	}
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		address, found := strings.CutPrefix(lines.Text(), "serving grpc on ")
		if !found {
			continue
		}
		client, err := authzed.NewClient(address,
			grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithPerRPCCredentials(bearer(stolenToken)))
		if err != nil {
			stop()
			t.Fatal(err)
		}
		return client, func() { client.Close(); stop() }
	}
	stop()
	t.Fatal("the server does not serve")
	return nil, nil
}

// decide has so many decisions about a user recorded, and waits until they are signed for.
func decide(t *testing.T, client *authzed.Client, data, user string, number int) printed {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for range number {
		if _, err := client.CheckPermission(ctx, &v1.CheckPermissionRequest{
			Resource: object("document", "roadmap"), Permission: "view",
			Subject: &v1.SubjectReference{Object: object("user", user)},
		}); err != nil {
			t.Fatal(err)
		}
	}
	for {
		at := audit(t, "checkpoint", "--data-dir", data)[0]
		if at.Size >= uint64(number) {
			return at
		}
		if ctx.Err() != nil {
			t.Fatalf("%d records were signed for", at.Size)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// verified is what `audit verify` says of the data, and whether it finds nothing.
func verified(t *testing.T, arguments ...string) (string, bool) {
	t.Helper()
	output, err := exec.Command(os.Getenv("STONETOWN_BIN"), append([]string{"audit", "verify"}, arguments...)...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		t.Fatalf("%v: %s", err, output)
	}
	return string(output), err == nil
}

func TestAStolenKeyDoesNotMakeAnotherLogPass(t *testing.T) {
	if os.Getenv("STONETOWN_BIN") == "" {
		t.Skip("needs the server's binary: STONETOWN_BIN")
	}
	data := filepath.Join(t.TempDir(), "data")
	client, stop := serving(t, data)
	schema, err := os.ReadFile("../schema.zed")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.WriteSchema(t.Context(), &v1.WriteSchemaRequest{Schema: string(schema)}); err != nil {
		t.Fatal(err)
	}
	exported := decide(t, client, data, "alice", 20)
	file := filepath.Join(t.TempDir(), "checkpoint")
	if err := os.WriteFile(file, []byte(exported.Note), 0o600); err != nil {
		t.Fatal(err)
	}
	keys := map[string]string{}
	for _, one := range audit(t, "key", "--data-dir", data) {
		keys[one.Origin] = one.Key
	}
	key := keys[exported.Origin]
	_, oldSize, oldRoot := open(t, exported.Note, key)
	size := strconv.FormatUint(oldSize, 10)
	// Whether the log as it is now continues the exported one, by its own proof and its own signature.
	continues := func() error {
		later := audit(t, "consistency", size, "--data-dir", data)[0]
		origin, newSize, root := open(t, later.Checkpoint, key)
		if origin != exported.Origin {
			t.Fatalf("%s instead of %s", origin, exported.Origin)
		}
		return proof.VerifyConsistency(rfc6962.DefaultHasher, oldSize, newSize, later.Proof, oldRoot, root)
	}

	// The log that goes on as it began.
	decide(t, client, data, "bert", 2*int(oldSize))
	stop()
	if said, whole := verified(t, "--checkpoint", file, data); !whole {
		t.Fatalf("the log itself: %s", said)
	}
	if err := continues(); err != nil {
		t.Fatalf("the log itself: %v", err)
	}

	// Written anew with the log's own key, by the program itself, and longer.
	logs, honest := filepath.Join(data, "audit"), filepath.Join(t.TempDir(), "audit")
	if err := os.Rename(logs, honest); err != nil {
		t.Fatal(err)
	}
	client, stop = serving(t, data)
	decide(t, client, data, "mallory", 2*int(oldSize))
	stop()
	if said, whole := verified(t, data); !whole {
		t.Fatalf("by itself it is whole: %s", said)
	}
	said, whole := verified(t, "--checkpoint", file, data)
	if whole || !strings.Contains(said, "problem") {
		t.Fatalf("another log passed for the exported one: %s", said)
	}
	if err := continues(); err == nil {
		t.Fatal("another log was proved to continue the exported one")
	}

	// Shorter than what was exported: it has no proof to offer.
	if err := os.RemoveAll(logs); err != nil {
		t.Fatal(err)
	}
	client, stop = serving(t, data)
	decide(t, client, data, "mallory", 1)
	stop()
	if said, whole := verified(t, "--checkpoint", file, data); whole || !strings.Contains(said, "removed") {
		t.Fatalf("a shorter log passed for the exported one: %s", said)
	}
	if output, err := exec.Command(os.Getenv("STONETOWN_BIN"), "audit", "consistency", size, "--data-dir", data).CombinedOutput(); err == nil {
		t.Fatalf("a shorter log offers a proof: %s", output)
	}
}
