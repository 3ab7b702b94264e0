{{/* The formats of string values. If the schema had the patterns, Helm's error would show only the pattern. Here each
wrong value gets a sentence, and one run shows all of them. */}}

{{/* Maps a value's path to its format; "?" means that the value may be empty. For a list, the format is that of its
items; for a map, that of its keys and, after "=", that of its values. */}}
{{- define "app.valueForms" -}}
region: region
environment: environment
nameOverride: serviceName?
fullnameOverride: serviceName?
commonLabels: labelKey=labelValue?
image.registry: registry?
image.repository: repository
image.tag: tag?
image.digest: digest?
image.pullSecrets: name
settings.defaultCurrency: currency?
database.host: host?
database.ownerHost: host?
database.name: databaseName
database.caConfigMap: name?
secrets.existingDatabaseSecret: name?
secrets.existingApiKeySecret: name?
externalSecrets.apiKeyName: remoteName?
externalSecrets.databaseName: remoteName?
externalSecrets.databaseOwnerName: remoteName?
externalSecrets.apiKeyRefreshInterval: duration
externalSecrets.databaseRefreshInterval: duration
externalSecrets.staticCredentials.secretName: name?
externalSecrets.staticCredentials.accessKeyIdKey: secretKey
externalSecrets.staticCredentials.secretAccessKeyKey: secretKey
serviceAccount.name: name?
serviceAccount.roleArn: roleArn?
serviceAccount.annotations: labelKey
resources.cpuRequest: cpu
resources.memory: memory
scheduling.nodeSelector: labelKey=labelValue?
scheduling.priorityClassName: name?
podLabels: labelKey=labelValue?
podAnnotations: labelKey
ingress.className: name
ingress.host: ingressHost?
ingress.certificateArn: certificateArn?
ingress.inboundCidrs: cidr
ingress.subnets: subnet
ingress.securityGroups: securityGroup
ingress.accessLogs.bucket: bucket?
ingress.accessLogs.prefix: logPrefix?
ingress.wafAclArn: webAclArn?
ingress.tags: tagKey=tagValue?
ingress.annotations: labelKey
networkPolicy.loadBalancerCidrs: cidr
networkPolicy.callerNamespaces: namespace
networkPolicy.databaseCidrs: cidr
networkPolicy.prometheusNamespace: namespace
networkPolicy.dnsNamespace: namespace
networkPolicy.dnsCidrs: cidr
monitoring.labels: labelKey=labelValue?
monitoring.scrapeInterval: seconds
monitoring.scrapeTimeout: seconds
monitoring.alerts.availabilityPercent: goal
monitoring.alerts.latencyPercent: goal
monitoring.alerts.runbookBaseUrl: url
monitoring.alerts.labels: alertLabelKey
monitoring.dashboard.label: labelKey
monitoring.dashboard.labelValue: labelValue?
migration.serviceAccountName: name?
migration.roleArn: roleArn?
prune.schedule: schedule
prune.olderThan: age
{{- end }}

{{/* Matches what src/config/residency.rs takes for the name of an AWS region. */}}
{{- define "app.regionPattern" -}}
(af|ap|ca|cn|eu|eusc|il|me|mx|sa|us)(-[a-z]+)?-(central|east|west|(north|south)(east|west)?)-[0-9]{1,2}
{{- end }}

{{/* Maps a format's name to its pattern and, for the sentence, to a description of valid values. */}}
{{- define "app.forms" -}}
{{- $label := "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?" }}
{{- $name := printf "%s(\\.%s)*" $label $label }}
{{- $labelValue := "[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?" }}
{{- $account := "[0-9]{12}" }}
{{- $octet := "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])" }}
{{- $group := "[0-9A-Fa-f]{1,4}" }}
{{- $minute := "([1-5]?[0-9])" }}
{{- $times := "(\\*|N(-N)?)(/[1-9][0-9]?)?(,(\\*|N(-N)?)(/[1-9][0-9]?)?)*" }}
region:
  pattern: '{{ include "app.regionPattern" . }}'
  right: the name of an AWS region, such as eu-south-2
environment:
  pattern: '[A-Za-z0-9_.-]{1,63}'
  right: at most 63 letters, digits, "-", "_" and ".", such as production
serviceName:
  pattern: '[a-z]([a-z0-9-]{0,44}[a-z0-9])?'
  right: a name for a Service, at most 46 lower-case letters, digits and "-", beginning with a letter and not ending with "-", such as payments
name:
  pattern: '{{ $name }}'
  right: the name of a Kubernetes object, lower-case letters and digits with "-" and single "." between them, such as payments-database
namespace:
  pattern: '{{ $label }}'
  right: the name of a namespace, at most 63 lower-case letters, digits and "-", beginning and ending with a letter or digit, such as monitoring
labelKey:
  pattern: '({{ $name }}/)?{{ $labelValue }}'
  right: letters, digits, "-", "_" and ".", optionally after a domain and "/", such as example.com/team
labelValue:
  pattern: '{{ $labelValue }}'
  right: at most 63 letters, digits, "-", "_" and ".", beginning and ending with a letter or digit, such as payments
alertLabelKey:
  pattern: '[A-Za-z][A-Za-z0-9_]*'
  right: the name of a Prometheus label, letters, digits and "_", beginning with a letter, such as team
registry:
  pattern: '{{ $name }}(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*'
  right: the host of a registry without https://, optionally with a path, such as 111122223333.dkr.ecr.eu-south-2.amazonaws.com
repository:
  pattern: '[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*'
  right: a repository in lower case, without registry and tag, such as payment-latency-api
tag:
  pattern: '[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}'
  right: at most 128 letters, digits, "_", "." and "-", not beginning with "." or "-", such as {{ .Chart.AppVersion }}
digest:
  pattern: 'sha256:[0-9a-f]{64}'
  right: a digest as the registry shows it, with 64 lower-case hexadecimal digits, such as sha256:{{ repeat 16 "0123" }}
currency:
  pattern: '{{ .Files.Get "currencies.txt" | trim | replace "\n" "|" }}'
  right: the code of a currency that the service accepts (chart/currencies.txt), in capitals, such as EUR or MXN
host:
  pattern: '{{ $name }}'
  right: a host name in lower case, without scheme and port, such as db.example.com
ingressHost:
  pattern: '({{ $label }}\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?'
  right: a fully qualified host name in lower case, without scheme, port and path, such as payments.example.com
databaseName:
  pattern: '[A-Za-z_][A-Za-z0-9_]{0,62}'
  right: at most 63 letters, digits and "_", not beginning with a digit, such as payments
remoteName:
  pattern: '[A-Za-z0-9/_+=.@!:-]+'
  right: the name or ARN of a secret in Secrets Manager, such as payment-latency-api/production/database
secretKey:
  pattern: '\.?[A-Za-z0-9_-][A-Za-z0-9._-]*'
  right: a key of a Secret, letters, digits, "-", "_" and ".", such as access-key-id
duration:
  pattern: '([5-9]|[1-5][0-9])s|([1-9]|[1-5][0-9])m{{ $minute }}s|([1-9]|1[0-9]|2[0-3])h{{ $minute }}m{{ $minute }}s|24h0m0s'
  right: 5 s to 24 h, written as External Secrets writes it back (any other form would show as drift), such as 30s, 1m0s or 1h0m0s
seconds:
  pattern: '([1-9]|[1-5][0-9]|60)s'
  right: whole seconds from 1s to 60s, because alerts look at five minutes and need several scrapes, such as 15s
roleArn:
  pattern: 'arn:aws[a-z-]*:iam::{{ $account }}:role/[A-Za-z0-9+=,.@_/-]+'
  right: the ARN of an IAM role, such as arn:aws:iam::111122223333:role/payment-latency-api
certificateArn:
  pattern: 'arn:aws[a-z-]*:acm:[a-z0-9-]+:{{ $account }}:certificate/[A-Za-z0-9-]+'
  right: the ARN of a certificate in ACM, such as arn:aws:acm:eu-south-2:111122223333:certificate/0123abcd
webAclArn:
  pattern: 'arn:aws[a-z-]*:wafv2:[a-z0-9-]+:{{ $account }}:regional/webacl/[A-Za-z0-9_-]+/[A-Za-z0-9-]+'
  right: the ARN of a regional web ACL, such as arn:aws:wafv2:eu-south-2:111122223333:regional/webacl/payments/0123abcd
cpu:
  pattern: '[1-9][0-9]{0,4}m|[1-9][0-9]?'
  right: millicores with an "m", or whole cores, such as 250m
memory:
  pattern: '[1-9][0-9]{1,4}Mi|[1-9][0-9]?Gi'
  right: MiB or GiB, such as 256Mi
cidr:
  pattern: '({{ $octet }}\.){3}{{ $octet }}/([12]?[0-9]|3[0-2])|(({{ $group }}:){7}{{ $group }}|({{ $group }}:){1,7}:|:(:{{ $group }}){1,7}|::
    {{- range $after := untilStep 1 7 1 }}|({{ $group }}:){1,{{ sub 7 $after }}}(:{{ $group }}){1,{{ $after }}}{{ end }})/([1-9]?[0-9]|1[01][0-9]|12[0-8])'
  right: a network in CIDR notation, such as 10.0.0.0/16 or 2001:db8::/32
subnet:
  pattern: '[^,\s]([^,]*[^,\s])?'
  right: the ID or name of a subnet, without a comma, such as subnet-0123456789abcdef0
securityGroup:
  pattern: '[^,\s]([^,]*[^,\s])?'
  right: the ID or name of a security group, without a comma, such as sg-0123456789abcdef0
bucket:
  pattern: '[a-z0-9]([a-z0-9-]|\.[a-z0-9]){1,61}[a-z0-9]'
  right: the name of an S3 bucket, 3 to 63 lower-case letters, digits, "-" and ".", such as payments-access-logs
logPrefix:
  pattern: '[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*'
  right: letters, digits, ".", "_" and "-", with single "/" between them, such as payment-latency-api
tagKey:
  pattern: '[\p{L}\p{N}+._:/@-]([\p{L}\p{N} +._:/@-]{0,126}[\p{L}\p{N}+._:/@-])?'
  right: at most 128 letters, digits, spaces, "+", "-", ".", "_", ":", "/" and "@" (the controller cannot write "," and "="), such as Team
tagValue:
  pattern: '[\p{L}\p{N} +._:/@-]{1,256}'
  right: at most 256 letters, digits, spaces, "+", "-", ".", "_", ":", "/" and "@" (the controller cannot write "," and "="), such as payments
goal:
  pattern: '9[4-9](\.[0-9]{1,3})?'
  right: a percentage from 94 to 99.999 with at most three decimals, such as 99.95 (the fast alert fires at 14.4 times the share that may fail; with a goal below 94 it might never fire)
url:
  pattern: 'https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[^\s?#]*)?'
  right: a URL, such as https://example.com/payment-latency-api/docs/alerts
schedule:
  pattern: '{{ $times | replace "N" $minute }} {{ $times | replace "N" "(1?[0-9]|2[0-3])" }} {{ $times | replace "N" "([1-9]|[12][0-9]|3[01])" }} {{ $times | replace "N" "([1-9]|1[0-2]|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)" }} {{ $times | replace "N" "([0-6]|SUN|MON|TUE|WED|THU|FRI|SAT)" }}'
  right: five fields in cron format, minute (0-59), hour (0-23), day of the month (1-31), month (1-12) and day of the week (0-6), such as 17 3 * * *
age:
  pattern: '[1-9][0-9]{0,3}d|[1-9][0-9]{0,4}h'
  right: a whole number of days or hours, such as 90d ("m" is not accepted, because it could mean minutes or months)
{{- end }}

{{/* One line with a sentence for each value that does not have its format. */}}
{{- define "app.formMistakes" -}}
{{- $forms := include "app.forms" . | fromYaml }}
{{- range $path, $form := include "app.valueForms" . | fromYaml }}
{{- $value := $.Values }}
{{- range splitList "." $path }}{{ $value = index $value . }}{{ end }}
{{- if kindIs "map" $value }}
{{- $ofKey := splitList "=" $form | first }}
{{- $ofValue := trimPrefix $ofKey $form | trimPrefix "=" }}
{{- range $key, $one := $value }}
{{- include "app.formMistake" (dict "forms" $forms "form" $ofKey "at" (printf "a key of %s" $path) "value" $key) }}
{{- if $ofValue }}
{{- include "app.formMistake" (dict "forms" $forms "form" $ofValue "at" (printf "%s.%s" $path $key) "value" $one) }}
{{- end }}
{{- end }}
{{- else if kindIs "slice" $value }}
{{- range $number, $one := $value }}
{{- include "app.formMistake" (dict "forms" $forms "form" $form "at" (printf "%s[%d]" $path $number) "value" $one) }}
{{- end }}
{{- else }}
{{- include "app.formMistake" (dict "forms" $forms "form" $form "at" $path "value" $value) }}
{{- end }}
{{- end }}
{{- range $number, $one := .Values.scheduling.tolerations }}
{{- $at := printf "scheduling.tolerations[%d]" $number }}
{{- include "app.formMistake" (dict "forms" $forms "form" "labelKey?" "at" (print $at ".key") "value" (default "" $one.key)) }}
{{- include "app.formMistake" (dict "forms" $forms "form" "labelValue?" "at" (print $at ".value") "value" (default "" $one.value)) }}
{{- end }}
{{- end }}

{{/* That line for one value, or nothing. Takes a dict of forms, form, at and value. */}}
{{- define "app.formMistake" -}}
{{- $value := toString .value }}
{{- $mayBeEmpty := hasSuffix "?" .form }}
{{- $form := get .forms (trimSuffix "?" .form) }}
{{- if not (or (and $mayBeEmpty (eq $value "")) (regexMatch (printf "^(%s)$" $form.pattern) $value)) }}
{{ .at }} is {{ quote $value }}: it must be {{ $form.right }}{{ if $mayBeEmpty }}, or empty{{ end }}
{{- end }}
{{- end }}
