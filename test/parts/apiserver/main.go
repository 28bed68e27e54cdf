// Command kube is the real Kubernetes API server, the real etcd and kubectl in
// one binary, so that tests and the demo need no container engine:
//
//	kube apiserver [flags of kube-apiserver]
//	kube etcd DATA_DIR CLIENT_URL
//	kube kubectl [arguments of kubectl]
//
// Each runs as a process of its own, so a test may end one without the others.
// Called by a name that ends in "kubectl", through a symlink, it is kubectl.
package main

import (
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() {
	if strings.HasSuffix(os.Args[0], "kubectl") {
		runKubectl()
		return
	}
	if len(os.Args) < 2 {
		fail("usage: %s apiserver [flags] | etcd DATA_DIR CLIENT_URL | kubectl [arguments]", os.Args[0])
	}
	mode := os.Args[1]
	os.Args = append([]string{os.Args[0]}, os.Args[2:]...)
	switch mode {
	case "apiserver":
		os.Exit(cli.Run(app.NewAPIServerCommand()))
	case "etcd":
		runEtcd(os.Args[1:])
	case "kubectl":
		runKubectl()
	default:
		fail("unknown mode %q: apiserver, etcd or kubectl", mode)
	}
}

// runKubectl does what kubectl's own main does: an error that a command returns
// is printed in kubectl's words and sets the exit code.
func runKubectl() {
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err)
	}
}

// runEtcd serves a single member until SIGTERM or SIGINT. Nothing is synced to
// disk: the data of a test is worth nothing after a power cut, and fsync would
// dominate every write.
func runEtcd(args []string) {
	if len(args) != 2 {
		fail("usage: etcd DATA_DIR CLIENT_URL")
	}
	client, err := url.Parse(args[1])
	if err != nil {
		fail("client URL %q: %v", args[1], err)
	}
	config := embed.NewConfig()
	config.Dir = args[0]
	config.LogLevel = "warn"
	config.UnsafeNoFsync = true
	config.ListenClientUrls = []url.URL{*client}
	config.AdvertiseClientUrls = []url.URL{*client}
	// A single member needs no peers; port 0 keeps it off every fixed port.
	config.ListenPeerUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	server, err := embed.StartEtcd(config)
	if err != nil {
		fail("etcd: %v", err)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	select {
	case <-server.Server.ReadyNotify():
		fmt.Println("etcd is ready")
	case <-stop:
	case err = <-server.Err():
		fail("etcd: %v", err)
	}
	select {
	case <-stop:
	case err = <-server.Err():
		fail("etcd: %v", err)
	}
	server.Close()
}

func fail(format string, values ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", values...)
	os.Exit(1)
}
