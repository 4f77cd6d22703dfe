package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// rekorEntries signs n small artifacts and returns the request bodies of
// Rekor's POST /api/v2/log/entries, one entry each.
func rekorEntries(n int) ([][]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	b64 := base64.StdEncoding.EncodeToString
	bodies := make([][]byte, n)
	for i := range bodies {
		digest := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
		sig, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
		if err != nil {
			return nil, err
		}
		bodies[i], err = json.Marshal(map[string]any{"hashedRekordRequestV002": map[string]any{
			"digest": b64(digest[:]),
			"signature": map[string]any{
				"content":  b64(sig),
				"verifier": map[string]any{"publicKey": map[string]any{"rawBytes": b64(spki)}, "keyDetails": "PKIX_ECDSA_P256_SHA_256"},
			},
		}})
		if err != nil {
			return nil, err
		}
	}
	return bodies, nil
}

// startRekor runs the Rekor server at path on loopback with a log of its own
// below dir, and returns the URL that takes entries.
func startRekor(ctx context.Context, path, dir string) (string, func(), error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", nil, err
	}
	keyFile := filepath.Join(dir, "rekor.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := os.WriteFile(keyFile, block, 0o600); err != nil {
		return "", nil, err
	}
	ports, err := freePorts(3)
	if err != nil {
		return "", nil, err
	}
	cmd := exec.CommandContext(ctx, path, "serve",
		"--storage-dir", filepath.Join(dir, "rekor"), "--signer-filepath", keyFile, "--hostname", "rekor.bench.example",
		"--http-port", strconv.Itoa(ports[0]), "--grpc-port", strconv.Itoa(ports[1]), "--http-metrics-port", strconv.Itoa(ports[2]),
		"--checkpoint-interval", "1s", "--log-level", "error")
	stop, err := start(cmd, filepath.Join(dir, "rekor.out"))
	if err != nil {
		return "", nil, err
	}
	base := fmt.Sprintf("http://127.0.0.1:%d", ports[0])
	if err := waitFor(ctx, base+"/healthz", 20*time.Second); err != nil {
		stop()
		return "", nil, err
	}
	return base + "/api/v2/log/entries", stop, nil
}

// rekorRate posts every body once with the given number of connections.
func rekorRate(ctx context.Context, url string, bodies [][]byte, conns int) (rate, error) {
	return drive(ctx, conns, len(bodies), func(c *http.Client, i int) (int, error) {
		resp, err := c.Post(url, "application/json", bytes.NewReader(bodies[i]))
		if err != nil {
			return 0, err
		}
		if err := drain(resp); err != nil {
			return 0, err
		}
		if resp.StatusCode != http.StatusCreated && resp.StatusCode != http.StatusOK {
			return 0, fmt.Errorf("rekor answered %s", resp.Status)
		}
		return 1, nil
	})
}
