package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/firn-log/firn/federation"
	"github.com/firn-log/firn/federation/p2p"
	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log/statement"
)

// submitKey is the default name of the key that signs what is submitted.
const submitKey = "submit.key"

// makeSubmitKey makes that key.
func makeSubmitKey(dir string) error {
	_, text, err := p2p.GenerateKey()
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(dir, submitKey), []byte(text), 0o600)
}

// newSubmitter returns what puts evidence into logs.
func (p *peer) newSubmitter(ctx context.Context, dir string) (*federation.Submitter, error) {
	file, err := privateFile(dir, p.config.Submit.Key)
	if err != nil {
		return nil, fmt.Errorf("key for submitting evidence: %w", err)
	}
	signer, err := statement.OpenSigner(ctx, "file:"+file, statement.SignerOptions{CarryKey: true})
	if err != nil {
		return nil, fmt.Errorf("key for submitting evidence: %w", err)
	}
	return federation.NewSubmitter(federation.SubmitterOptions{Hub: p.hub, Signer: signer, Path: filepath.Join(dir, "submitted.json")})
}

// newOperators returns what follows the operators of the configuration. It tells the
// node, which is there when it runs.
func (p *peer) newOperators(dir string) (*federation.Operators, error) {
	return federation.NewOperators(federation.OperatorsOptions{
		Hub: p.hub, IDs: p.config.P2P.operators(func(string, ...any) {}), Path: filepath.Join(dir, "operators.json"),
		Interval: p.config.P2P.OperatorsInterval.Duration, Max: p.gossips.Room, Changed: p.admit,
	})
}

// admit has the node admit and dial the peers that operators name.
func (p *peer) admit(named []federation.OperatorPeer) {
	var all []p2p.Peer
	for _, x := range named {
		y, err := p2p.NewPeer(x.ID, x.Addrs)
		if err != nil {
			p.logger.Warn("an operator names a peer that cannot be dialled", "error", err)
			if y, err = p2p.NewPeer(x.ID, nil); err != nil {
				continue
			}
		}
		all = append(all, y)
	}
	if err := p.node.SetPeers(all); err != nil {
		p.logger.Error("the peers of operators are not admitted", "error", err)
	}
}
