package clients

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "github.com/authzed/authzed-go/proto/authzed/api/v1"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
)

// The proofs that the command line prints, verified by the public packages for transparency logs and signed notes.

type printed struct {
	Origin     string   `json:"origin"`
	Index      uint64   `json:"index"`
	Size       uint64   `json:"size"`
	OldSize    uint64   `json:"old_size"`
	OldRoot    []byte   `json:"old_root"`
	LeafHash   []byte   `json:"leaf_hash"`
	Entry      []byte   `json:"entry"`
	Proof      [][]byte `json:"proof"`
	Checkpoint string   `json:"checkpoint"`
	Note       string   `json:"note"`
	Key        string   `json:"key"`
	Root       []byte   `json:"root"`
}

func audit(t *testing.T, arguments ...string) []printed {
	t.Helper()
	command := exec.Command(os.Getenv("STONETOWN_BIN"), append([]string{"--json", "audit"}, arguments...)...)
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		t.Fatal(arguments, err)
	}
	var lines []printed
	for line := range bytes.Lines(output) {
		var one printed
		if err := json.Unmarshal(line, &one); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, one)
	}
	return lines
}

// open verifies a checkpoint's signature and returns its size and root.
func open(t *testing.T, text, key string) (string, uint64, []byte) {
	t.Helper()
	verifier, err := note.NewVerifier(key)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := note.Open([]byte(text), note.VerifierList(verifier))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(opened.Text, "\n")
	size, err := strconv.ParseUint(lines[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil {
		t.Fatal(err)
	}
	return lines[0], size, root
}

func TestPublicPackagesVerifyTheAuditLogs(t *testing.T) {
	if os.Getenv("STONETOWN_BIN") == "" || os.Getenv("STONETOWN_DATA_DIR") == "" {
		t.Skip("needs the server's binary and data directory: STONETOWN_BIN, STONETOWN_DATA_DIR")
	}
	ctx, client := setup(t)
	keys := map[string]string{}
	for _, one := range audit(t, "key") {
		keys[one.Origin] = one.Key
	}
	for _, log := range []string{"decisions", "changes"} {
		var before printed
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
			before = audit(t, "checkpoint", "--log", log)[0]
			if before.Size > 1 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("no record was signed for")
			}
			if _, err := client.ReadSchema(ctx, &v1.ReadSchemaRequest{}); err != nil {
				t.Fatal(err)
			}
		}
		key := keys[before.Origin]
		origin, oldSize, oldRoot := open(t, before.Note, key)
		if origin != before.Origin || oldSize != before.Size {
			t.Fatalf("%s: the note says %s, %d", log, origin, oldSize)
		}
		for index := range oldSize {
			proved := audit(t, "prove", strconv.FormatUint(index, 10), "--log", log)[0]
			_, size, root := open(t, proved.Checkpoint, key)
			leaf := rfc6962.DefaultHasher.HashLeaf(proved.Entry)
			if err := proof.VerifyInclusion(rfc6962.DefaultHasher, index, size, leaf, proved.Proof, root); err != nil {
				t.Fatalf("%s %d: %v", log, index, err)
			}
			proved.Entry[len(proved.Entry)/2] ^= 1
			leaf = rfc6962.DefaultHasher.HashLeaf(proved.Entry)
			if proof.VerifyInclusion(rfc6962.DefaultHasher, index, size, leaf, proved.Proof, root) == nil {
				t.Fatalf("%s %d: an altered entry was proved", log, index)
			}
			if index == 8 {
				break
			}
		}
		later := audit(t, "consistency", strconv.FormatUint(oldSize, 10), "--log", log)[0]
		_, size, root := open(t, later.Checkpoint, key)
		if err := proof.VerifyConsistency(rfc6962.DefaultHasher, oldSize, size, later.Proof, oldRoot, root); err != nil {
			t.Fatalf("%s: %v", log, err)
		}
		altered := strings.Replace(before.Note, "\n"+strconv.FormatUint(oldSize, 10)+"\n", "\n"+strconv.FormatUint(oldSize+1, 10)+"\n", 1)
		verifier, _ := note.NewVerifier(key)
		if _, err := note.Open([]byte(altered), note.VerifierList(verifier)); err == nil {
			t.Fatalf("%s: an altered checkpoint was believed", log)
		}
	}
}
