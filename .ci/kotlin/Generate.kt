// What Apollo Kotlin's Gradle plugin does: Kotlin from a schema and operations.
import com.apollographql.apollo.compiler.ApolloCompiler
import com.apollographql.apollo.compiler.CodegenSchemaOptions
import com.apollographql.apollo.compiler.buildCodegenOptions
import com.apollographql.apollo.compiler.buildIrOptions
import com.apollographql.apollo.compiler.codegen.writeTo
import com.apollographql.apollo.compiler.toInputFiles
import java.io.File

fun main(args: Array<String>) {
    val (schema, operations, sources) = args.map(::File)
    ApolloCompiler.buildSchemaAndOperationsSources(
        schemaFiles = listOf(schema).toInputFiles(),
        executableFiles = operations.listFiles()!!.sorted().toInputFiles(),
        codegenSchemaOptions = CodegenSchemaOptions(
            scalarTypeMapping = mapOf("DateTime" to "kotlin.String", "PartialDate" to "kotlin.String"),
            scalarAdapterMapping = mapOf(),
            generateDataBuilders = false,
        ),
        irOptions = buildIrOptions(failOnWarnings = true),
        codegenOptions = buildCodegenOptions(packageName = "patientgraph"),
        layoutFactory = null,
        operationIdsGenerator = null,
        irOperationsTransform = null,
        javaOutputTransform = null,
        kotlinOutputTransform = null,
        documentTransform = null,
        schemaDocumentTransform = null,
        logger = null,
        operationManifestFile = null,
    ).writeTo(sources, true, null)
}
