package log

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

// MaxSubmitBlobs is how many blobs may come with one statement (spec/log.md#blobs).
const MaxSubmitBlobs = 8

// slowestUpload is how fast blobs go to a log at least, in bytes a second; below it the
// log hangs up.
const slowestUpload = 256 << 10

// MarshalBlobs returns a leaf and its blobs in the form in which they are sent: the leaf
// after its length in two bytes, each blob after its length in four, big-endian.
func MarshalBlobs(leaf []byte, blobs [][]byte) ([]byte, error) {
	if len(blobs) > MaxSubmitBlobs {
		return nil, fmt.Errorf("%d blobs; at most %d come with a statement", len(blobs), MaxSubmitBlobs)
	}
	b, err := MarshalLeaves([][]byte{leaf})
	if err != nil {
		return nil, err
	}
	for i, blob := range blobs {
		if len(blob) == 0 || len(blob) > statement.MaxBlob {
			return nil, fmt.Errorf("blob %d has %d bytes; between 1 and %d are taken", i+1, len(blob), statement.MaxBlob)
		}
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(blob))), blob...)
	}
	return b, nil
}

// SubmitWithBlobs is [Client.Submit] of one leaf with blobs that it names
// ([statement.Blobs]), at most [MaxSubmitBlobs] of at most [statement.MaxBlob] bytes. The log
// has them durably before it adds the leaf, and takes all or none. What it has already
// need not be sent.
//
// Build logs, derivation texts and reports are public from then on and may hold
// secrets: the caller has asked whoever they belong to.
func (c *Client) SubmitWithBlobs(ctx context.Context, leaf []byte, blobs [][]byte, wait time.Duration) (*SubmitResult, error) {
	body, err := MarshalBlobs(leaf, blobs)
	if err != nil {
		return nil, fmt.Errorf("submitting to %s: %w", c.origin, err)
	}
	patience := wait + time.Duration(len(body)/slowestUpload)*time.Second
	return c.submit(ctx, [][]byte{leaf}, request{
		method: http.MethodPost, path: "v1/blobs?wait=" + wait.String(),
		contentType: "application/vnd.firn.blobs", body: body, wait: patience, limit: maxSubmitAnswer,
	})
}

// BlobPath returns where a blob is below the URL of a log, and below that of a mirror
// if the blob is a list.
func BlobPath(hash nix.Hash) string { return "v1/blob/" + hash.Hex() }

// Blob returns the blob of a hash, from the log or a mirror of it, if it has at most max
// bytes. What it returns has that hash; what it is good for is the caller's to know.
// Errors match ErrNotFound, ErrDeleted, ErrTooLarge or ErrUnreachable, or are a *ProofError if
// something else was served.
func (c *Client) Blob(ctx context.Context, hash nix.Hash, max int64) ([]byte, error) {
	var first error
	for _, p := range c.order() {
		b, err := p.get(ctx, BlobPath(hash), max)
		if err == nil && sha256.Sum256(b) != hash {
			err = &ProofError{Origin: c.origin, Key: "blob " + hash.Hex(), Reason: fmt.Sprintf("%s serves something else", p.url)}
		}
		if err == nil {
			return b, nil
		}
		if ctx.Err() != nil {
			return nil, err
		}
		// That it is not there says less than any other reason.
		if first == nil || errors.Is(first, ErrNotFound) && !errors.Is(err, ErrNotFound) {
			first = err
		}
	}
	return nil, fmt.Errorf("reading the blob %s of %s: %w", hash.Hex(), c.origin, first)
}
