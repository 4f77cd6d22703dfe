package statement

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// openKeygen signs with stock ssh-keygen. path is a private key, or a public
// one whose private half is in the agent. ssh-keygen asks for passphrases and
// touches itself.
func openKeygen(_ context.Context, path string, opts *SignerOptions) (*keySigner, error) {
	program := opts.SSHKeygen
	if program == "" {
		program = "ssh-keygen"
	}
	pub, err := ReadPublicKey(path)
	if err != nil {
		// An older private key file without its public half in clear.
		if pub, err = ReadPublicKey(path + ".pub"); err != nil {
			return nil, fmt.Errorf("finding its public key: %w", err)
		}
	}
	if err := opts.allowFile(pub, path); err != nil {
		return nil, err
	}
	k := &keySigner{pub: pub}
	k.sshsig = func(ctx context.Context, namespace string, msg []byte) ([]byte, error) {
		args := []string{"-Y", "sign", "-n", namespace, "-f", path}
		if !pub.isSK() {
			args = append(args, "-q") // would also silence the request to touch a security key
		}
		cmd := exec.CommandContext(ctx, program, args...)
		if opts.AgentSocket != "" {
			cmd.Env = append(cmd.Environ(), "SSH_AUTH_SOCK="+opts.AgentSocket)
		}
		var out, complaint bytes.Buffer
		cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(msg), &out, &complaint
		if opts.Stderr != nil {
			cmd.Stderr = io.MultiWriter(&complaint, opts.Stderr)
		}
		if err := cmd.Run(); err != nil {
			return nil, fmt.Errorf("running %s -Y sign: %w: %s", program, err, firstLine(complaint.String()))
		}
		return dearmor(out.Bytes())
	}
	return k, nil
}

// dearmor returns the SSHSIG in ssh-keygen's armor.
func dearmor(b []byte) ([]byte, error) {
	block, rest := pem.Decode(b)
	if block == nil || block.Type != "SSH SIGNATURE" || len(bytes.TrimSpace(rest)) != 0 {
		return nil, errf(CodeBadSSHSIG, "ssh-keygen did not print one SSH SIGNATURE")
	}
	return block.Bytes, nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
