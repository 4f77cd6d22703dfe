package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"os"
	"path/filepath"
	"time"
)

// calibration is what this machine does at best right now; every other row is
// also printed as a fraction of one of these, so that runs on other machines
// and at busier hours can be compared.
type calibration struct {
	verifyPerSecond float64 // ed25519 signatures checked by one core
	fsyncPerSecond  float64 // 4 KiB written and fsynced to one file
	hashPerSecond   float64 // bytes through SHA-256 on one core
}

// calibrateFor is how long each calibration loop runs.
const calibrateFor = time.Second

func calibrate(dir string) (calibration, error) {
	var c calibration
	pub, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		return c, err
	}
	msg := make([]byte, 1024)
	sig := ed25519.Sign(priv, msg)
	c.verifyPerSecond = perSecond(func() { ed25519.Verify(pub, msg, sig) })

	block := make([]byte, 1<<20)
	c.hashPerSecond = perSecond(func() { sha256.Sum256(block) }) * float64(len(block))

	f, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		return c, err
	}
	defer f.Close()
	c.fsyncPerSecond = perSecond(func() {
		if _, err = f.WriteAt(block[:4096], 0); err == nil {
			err = f.Sync()
		}
	})
	return c, err
}

// perSecond returns how often f runs in a second.
func perSecond(f func()) float64 {
	n := 0
	begin := time.Now()
	for time.Since(begin) < calibrateFor {
		f()
		n++
	}
	return float64(n) / time.Since(begin).Seconds()
}
