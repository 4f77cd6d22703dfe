package witnessing

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/firn-log/firn/log/policy"
)

// requestBody returns the body of add-checkpoint. The proof is empty from size 0,
// and to the same size, which asks for a fresh cosignature.
func requestBody(ctx context.Context, old uint64, cp Checkpoint, prove Prover) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "old %d\n", old)
	if old > 0 && old < cp.Head.Size {
		proof, err := prove(ctx, old, cp.Head.Size)
		if err != nil {
			return nil, fmt.Errorf("proving size %d to size %d: %w", old, cp.Head.Size, err)
		}
		if len(proof) > maxProof {
			return nil, fmt.Errorf("a proof of %d hashes", len(proof))
		}
		for _, h := range proof {
			b.WriteString(base64.StdEncoding.EncodeToString(h[:]) + "\n")
		}
	}
	b.WriteByte('\n')
	b.Write(cp.Note)
	return b.Bytes(), nil
}

// answer is an answer to add-checkpoint that is one: 200 with a body, or 409
// with the size that the witness claims.
type answer struct {
	body    []byte
	claimed *uint64
}

const sizeType = "text/x.tlog.size"

func (c *Client) post(ctx context.Context, body []byte) (answer, error) {
	resp, b, err := c.do(ctx, http.MethodPost, c.url+"add-checkpoint", body, maxAnswer)
	if err != nil {
		return answer{}, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return answer{body: b}, nil
	case http.StatusConflict:
		size, err := claimedSize(resp.Header.Get("Content-Type"), b)
		if err != nil {
			return answer{}, &Error{URL: c.url, Outcome: Garbage, Status: resp.StatusCode, Err: err}
		}
		return answer{claimed: &size}, nil
	}
	return answer{}, c.refusal(resp, b)
}

// claimedSize reads the body of a 409.
func claimedSize(contentType string, b []byte) (uint64, error) {
	if t, _, err := mime.ParseMediaType(contentType); err != nil || t != sizeType {
		return 0, fmt.Errorf("status 409 with content type %q instead of %s", contentType, sizeType)
	}
	line, ok := strings.CutSuffix(string(b), "\n")
	size, err := policy.ParseDecimal(line)
	if !ok || err != nil {
		return 0, errors.New("status 409 whose body is not a size")
	}
	return size, nil
}

// refusal makes an error of a status that means no.
func (c *Client) refusal(resp *http.Response, b []byte) error {
	e := &Error{URL: c.url, Outcome: Refused, Status: resp.StatusCode, Err: fmt.Errorf("status %d: %s", resp.StatusCode, excerpt(b))}
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 && n < 1<<20 {
		e.retryAfter = time.Duration(n) * time.Second
	}
	return e
}

// excerpt returns the beginning of foreign words, in a form that is safe to log.
func excerpt(b []byte) string { return strconv.QuoteToASCII(string(b[:min(len(b), 100)])) }

// get fetches a checkpoint from a monitoring prefix.
func (c *Client) get(ctx context.Context, url string) ([]byte, error) {
	resp, b, err := c.do(ctx, http.MethodGet, url, nil, policy.MaxNote)
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode == http.StatusNotFound:
		return nil, ErrNothing
	case resp.StatusCode != http.StatusOK:
		return nil, c.refusal(resp, b)
	}
	return b, nil
}

// do makes one request within the time limit and reads at most limit bytes.
func (c *Client) do(ctx context.Context, method, url string, body []byte, limit int64) (*http.Response, []byte, error) {
	timed, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(timed, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, nil, &Error{URL: c.url, Outcome: Failed, Err: err}
	}
	req.Header.Set("User-Agent", c.o.UserAgent)
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, nil, c.broken(timed, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, nil, c.broken(timed, err)
	}
	if int64(len(b)) > limit {
		return nil, nil, &Error{URL: c.url, Outcome: Garbage, Status: resp.StatusCode, Err: fmt.Errorf("an answer of more than %d bytes", limit)}
	}
	return resp, b, nil
}

// broken makes an error of a request without an answer.
func (c *Client) broken(timed context.Context, err error) error {
	var timeout net.Error
	if timed.Err() != nil || errors.As(err, &timeout) && timeout.Timeout() {
		return &Error{URL: c.url, Outcome: TimedOut, Err: fmt.Errorf("no answer within %v", c.o.Timeout)}
	}
	return &Error{URL: c.url, Outcome: Unreachable, Err: err}
}

// read returns the cosignatures of an answer that verify. Lines of unknown keys
// are ignored; one wrong line under a known key spoils the answer.
func (c *Client) read(cp Checkpoint, b []byte) ([]Cosignature, error) {
	text := cp.Head.Text()
	n, err := policy.ParseNote(append([]byte(text+"\n"), b...))
	if err != nil || n.Text != text {
		return nil, &Error{URL: c.url, Outcome: Garbage, Status: http.StatusOK, Err: fmt.Errorf("status 200 whose body is not signature lines: %s", excerpt(b))}
	}
	var cosigs []Cosignature
	for _, line := range n.Signatures {
		for _, w := range c.witnesses {
			if w.Key.Type != policy.TypeCosignature || line.Name != w.Key.Name || line.ID != w.Key.ID {
				continue
			}
			at, ok := w.Key.VerifyCosignature(text, line.Sig)
			if !ok || at.Unix() == 0 {
				return nil, &Error{URL: c.url, Outcome: WrongSignature, Status: http.StatusOK, Err: fmt.Errorf("the cosignature of %s does not verify", w.Name)}
			}
			cosigs = append(cosigs, Cosignature{Witness: w.Name, Time: at, Line: line})
		}
	}
	if len(cosigs) == 0 {
		return nil, &Error{URL: c.url, Outcome: NoCosignature, Status: http.StatusOK, Err: errors.New("status 200 without a cosignature by a key of the policy")}
	}
	cosigs[0].Carried = c.carried(n)
	return cosigs, nil
}

// carried returns the lines of an answer by ML-DSA keys that the policy gives this URL,
// the first of each.
func (c *Client) carried(n *policy.Note) map[string]policy.Signature {
	lines := make(map[string]policy.Signature)
	for _, line := range n.Signatures {
		for _, w := range c.carry {
			if line.Name != w.Key.Name || line.ID != w.Key.ID {
				continue
			}
			if _, ok := w.Key.Carried(line.Sig); ok && lines[w.Name].Sig == nil {
				lines[w.Name] = line
			}
		}
	}
	return lines
}
