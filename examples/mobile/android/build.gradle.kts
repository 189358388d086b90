// A module with the client that Apollo Kotlin generates. In an Android app it is the same
// with com.android.library and org.jetbrains.kotlin.android.
plugins {
    kotlin("jvm") version "2.4.21"
    id("com.apollographql.apollo") version "5.0.1"
}

repositories { mavenCentral() }

dependencies { implementation("com.apollographql.apollo:apollo-runtime:5.0.1") }

apollo {
    service("patientgraph") {
        packageName.set("patientgraph")
        schemaFiles.from("../../../schema.graphqls") // yours: patientgraph schema > schema.graphqls
        srcDir("../operations")
        mapScalarToKotlinString("DateTime")
        mapScalarToKotlinString("PartialDate")
        failOnWarnings.set(true) // a field that is deprecated
    }
}
