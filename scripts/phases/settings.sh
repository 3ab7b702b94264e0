# shellcheck shell=bash
# Every setting of the phases, with its default, which is for AWS. Set one in the environment or after make (make up
# SITES=mexico). A setting that begins with SPAIN_ or MEXICO_ is for that region. Sourced, never run.

# What to do.
SITES=${SITES:-spain mexico}                       # regions to work on
CONFIRM=${CONFIRM:-}                               # yes: go on without asking
DRY_RUN=${DRY_RUN:-}                               # yes: as --dry-run
RELEASE_BRANCH=${RELEASE_BRANCH:-main}             # branch that Argo CD deploys, and that digests are committed to
IMAGE=${IMAGE:-}                                   # a release's image, by its digest: copied instead of building one
IMAGE_SIGNER=${IMAGE_SIGNER:-}                     # workflow identity that must have signed it (docs/RELEASES.md)
OPERATOR_FILE=${OPERATOR_FILE:-terraform/operator.tfvars}
SKIP_ADDONS=${SKIP_ADDONS:-}                       # names of scripts/phases/addons/charts.txt, and metrics-server
ADDON_VALUES=${ADDON_VALUES:-}                     # folder of your own values, NAME.yaml for a chart: receivers of alerts,
                                                   # remote write to Amazon Managed Prometheus, ...
CONTROL_ADDRESSES=${CONTROL_ADDRESSES:-}           # while Spain is away and not in SITES: addresses Argo CD connects
                                                   # from, ["192.0.2.1", ...], instead of those in Spain's state
GIT_SSH_KEY_FILE=${GIT_SSH_KEY_FILE:-}             # read-only deploy key, if Argo CD needs one for the repository
GIT_TOKEN_FILE=${GIT_TOKEN_FILE:-}                 # or a token, for an https address

# How long to wait, in seconds.
POLL_S=${POLL_S:-5}                                # between two checks
PROGRESS_S=${PROGRESS_S:-30}                       # between two lines that say what a script is waiting for
APPLICATIONS_WAIT_S=${APPLICATIONS_WAIT_S:-1800}   # both regions Synced and Healthy
PAYMENT_WAIT_S=${PAYMENT_WAIT_S:-900}              # load balancer's targets healthy, and the name in every resolver
APPLICATIONS_GO_S=${APPLICATIONS_GO_S:-600}        # Argo CD removes what it deployed
LOAD_BALANCERS_GO_S=${LOAD_BALANCERS_GO_S:-900}    # the controller removes its load balancers
KEY_WAIT_S=${KEY_WAIT_S:-600}                      # every pod accepts a rotated key
KUBELET_S=${KUBELET_S:-90}                         # a changed Secret reaches a pod's files
DESTROY_TRIES=${DESTROY_TRIES:-5}                  # of terraform destroy
DESTROY_WAIT_S=${DESTROY_WAIT_S:-60}               # between two of them
STATUS_WAIT_S=${STATUS_WAIT_S:-20}                 # for each part of make status
STATUS_PAYMENTS=${STATUS_PAYMENTS:-20}             # payments that make status makes in each region

# Where things are. The defaults are AWS; the other values run the same phases on one machine without an account.
CLUSTERS=${CLUSTERS:-eks}                          # given: contexts spain and mexico of KUBECONFIG, created elsewhere
MEXICO_ARGOCD_CONTEXT=${MEXICO_ARGOCD_CONTEXT:-}     # with given: context that Argo CD uses for Mexico, if not mexico
REGISTRY=${REGISTRY:-ecr}                          # plain: a registry without login or TLS
TERRAFORM_OUTPUTS=${TERRAFORM_OUTPUTS:-}           # folder with spain.json and mexico.json, as `terraform output -json`
                                                   # prints them, instead of Terraform
SPAIN_AWS_ENDPOINT_URL=${SPAIN_AWS_ENDPOINT_URL:-}   # where the aws client finds the region's services
MEXICO_AWS_ENDPOINT_URL=${MEXICO_AWS_ENDPOINT_URL:-}
SPAIN_PAYMENTS_URL=${SPAIN_PAYMENTS_URL:-}           # instead of https:// and the host name
MEXICO_PAYMENTS_URL=${MEXICO_PAYMENTS_URL:-}
