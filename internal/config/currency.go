package config

import "strings"

// currencies are the ISO 4217 currencies in use that have two decimals, without funds and test codes. Amounts are counted in
// hundredths, so other currencies cannot be represented.
const currencies = " AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC CUP" +
	" CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR" +
	" KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN" +
	" PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD" +
	" TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG "

// currency reads the code of a currency with two decimals.
func currency() codec[string] {
	return codec[string]{
		parse: func(text string) (string, error) {
			if len(text) != 3 || !strings.Contains(currencies, " "+text+" ") {
				return "", mustBe("the ISO 4217 code of a currency with two decimals, such as USD or EUR", text)
			}
			return text, nil
		},
		print: func(value string) string { return value },
	}
}
