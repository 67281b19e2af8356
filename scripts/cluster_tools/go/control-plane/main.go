// The control plane in one program, chosen by the name it is called by. Linked apart, its parts would take four times
// the time and space. `control-plane certificate FOLDER` writes what they trust each other by.
package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/client-go/util/cert"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// writeCertificate makes a certificate of 127.0.0.1 and localhost (server.crt, with the authority that signed it) and
// its RSA key (server.key), which also signs the tokens of service accounts.
func writeCertificate(folder string) error {
	crt, key, err := cert.GenerateSelfSignedCertKey("localhost", []net.IP{net.IPv4(127, 0, 0, 1)}, nil)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "server.crt"), crt, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "server.key"), key, 0o600)
}

func main() {
	var command *cobra.Command
	switch name := filepath.Base(os.Args[0]); {
	case name == "etcd":
		etcdmain.Main(os.Args)
		return
	case name == "kube-apiserver":
		command = apiserver.NewAPIServerCommand()
	case name == "kube-controller-manager":
		command = controllers.NewControllerManagerCommand()
	case name == "kube-scheduler":
		command = scheduler.NewSchedulerCommand()
	case len(os.Args) == 3 && os.Args[1] == "certificate":
		if err := writeCertificate(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	default:
		fmt.Fprintln(os.Stderr, "call it etcd, kube-apiserver, kube-controller-manager or kube-scheduler")
		os.Exit(2)
	}
	os.Exit(cli.Run(command))
}
