<?php
/*
Calls a method twice and prints how that ended.

  php client.php curl|stream|symfony-curl|symfony-native ADDRESS

"curl" is what CRest does. "symfony-curl" is what b24phpsdk does: it takes the HTTP
client of Symfony, which takes curl where PHP has it, with these options.
CONNECT_TO has the form of curl's --connect-to.
*/
[, $library, $address] = $argv;

function with_curl(string $address): array
{
    $curl = curl_init($address);
    curl_setopt_array($curl, [
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_FOLLOWLOCATION => 1,
        CURLOPT_POST => true,
        CURLOPT_POSTFIELDS => http_build_query(['fields' => ['TITLE' => 'a deal']]),
    ] + connectTo());
    $body = curl_exec($curl);
    return [curl_getinfo($curl, CURLINFO_RESPONSE_CODE), $body === false ? curl_error($curl) : $body];
}

/** Streams know no variable for the proxy: a program that uses them must. */
function with_stream(string $address): array
{
    $proxy = str_replace('http://', 'tcp://', getenv('https_proxy'));
    $http = ['method' => 'POST', 'header' => 'Content-Type: application/json', 'content' => '{"fields":{"TITLE":"a deal"}}', 'proxy' => $proxy, 'ignore_errors' => true];
    $body = file_get_contents($address, false, stream_context_create(['http' => $http]));
    return [explode(' ', $http_response_header[0] ?? '- 0')[1], $body === false ? error_get_last()['message'] : $body];
}

function with_symfony(string $class, string $address, array $options = []): array
{
    require_once '/usr/share/php/Symfony/Component/HttpClient/autoload.php';
    static $client; // keeps its connections
    $client ??= new $class(['http_version' => '2.0', 'timeout' => 120] + $options);
    $response = $client->request('POST', $address, ['json' => ['fields' => ['TITLE' => 'a deal']], 'max_redirects' => 0]);
    return [$response->getStatusCode(), $response->getContent(false)];
}

function connectTo(): array
{
    return getenv('CONNECT_TO') ? [CURLOPT_CONNECT_TO => [getenv('CONNECT_TO')]] : [];
}

for ($i = 0; $i < 2; $i++) {
    try {
        [$status, $body] = match ($library) {
            'curl' => with_curl($address),
            'stream' => with_stream($address),
            'symfony-curl' => with_symfony(Symfony\Component\HttpClient\CurlHttpClient::class, $address, ['extra' => ['curl' => connectTo()]]),
            'symfony-native' => with_symfony(Symfony\Component\HttpClient\NativeHttpClient::class, $address),
        };
        echo "$status $body\n";
    } catch (Exception $e) {
        echo get_class($e), ' ', $e->getMessage(), "\n";
    }
}
